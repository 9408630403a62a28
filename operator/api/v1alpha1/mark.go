package v1alpha1

import (
	"slices"
	"strings"
)

// Mark is a pair of labels on a held workload: one that keeps a controller of
// Flux from it, and one of ours beside it which says that the first is not
// somebody's own. Both are written with the number and taken off with it.
//
// They are labels, though Flux heeds annotations as well: those are copied to
// ReplicaSets, and `rollout undo` would bring them back long after the session.
// +kubebuilder:object:generate=false
type Mark struct {
	// Owner is the label by which the controller knows what is its own.
	Owner string
	// Key of the label that keeps it away, with the value MarkValue.
	Key string
	// Ours is the key of the label that says that we put it there.
	Ours string
}

// MarkValue is the value of a Mark's label, for either controller.
const MarkValue = "disabled"

// Marks are those that are known: of the kustomize-controller, which then does
// not apply the object, and of the helm-controller, which then does not correct
// it.
var Marks = []Mark{
	{Owner: "kustomize.toolkit.fluxcd.io/name", Key: "kustomize.toolkit.fluxcd.io/reconcile", Ours: "understudy.dev/flux-reconcile"},
	{Owner: "helm.toolkit.fluxcd.io/name", Key: "helm.toolkit.fluxcd.io/driftDetection", Ours: "understudy.dev/flux-drift-detection"},
}

// Marked says whether any of our marks is on an object.
func Marked(labels map[string]string) bool {
	return slices.ContainsFunc(Marks, func(m Mark) bool { _, there := labels[m.Ours]; return there })
}

// Wanted are the marks that an object of Flux's is still to get. What somebody
// has said about it himself stays.
func Wanted(labels, annotations map[string]string) []Mark {
	var wanted []Mark
	for _, m := range Marks {
		_, said := labels[m.Key]
		if labels[m.Owner] != "" && !said && !strings.EqualFold(annotations[m.Key], MarkValue) {
			wanted = append(wanted, m)
		}
	}
	return wanted
}

// Put adds the mark to an object's labels.
func (m Mark) Put(labels map[string]string) {
	labels[m.Key], labels[m.Ours] = MarkValue, "true"
}

// Unmark takes our marks off an object's labels, and those of the keys that are
// remembered elsewhere as ours. A label that does not say what ours did is
// somebody's by now.
func Unmark(labels map[string]string, remembered ...string) {
	for _, m := range Marks {
		_, ours := labels[m.Ours]
		if (ours || slices.Contains(remembered, m.Key)) && labels[m.Key] == MarkValue {
			delete(labels, m.Key)
		}
		delete(labels, m.Ours)
	}
}
