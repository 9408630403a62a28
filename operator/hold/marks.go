package hold

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/ownership"
)

// Wanted are the marks that an object is still to get, so that Flux leaves it
// alone: none for what Flux does not own.
func Wanted(object client.Object) []v1alpha1.Mark {
	return v1alpha1.Wanted(object.GetLabels(), object.GetAnnotations())
}

func putMarks(object client.Object, marks []v1alpha1.Mark) {
	if len(marks) == 0 {
		return
	}
	labels := object.GetLabels()
	for _, m := range marks {
		m.Put(labels)
	}
	object.SetLabels(labels)
}

// takeMarks takes the marks off that say of themselves that they are ours, and of
// those that are only remembered the ones that nobody else has a hand on.
func takeMarks(object client.Object, remembered []string) {
	labels := object.GetLabels()
	v1alpha1.Unmark(labels, ownership.UnownedMarks(object, remembered...)...)
	object.SetLabels(labels)
}
