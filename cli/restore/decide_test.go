package restore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// held is a deployment of the team's with three replicas that the operator has
// brought to zero for a session, and then was gone.
func (w *world) held(name string, begun bool) {
	w.t.Helper()
	c, err := client.New(w.config, client.Options{})
	w.must(err)
	holder := hold.Holder{API: hold.API{Reader: c, Writer: c}}
	w.deploy(name)
	w.applies(name, "team", 3)
	d := w.read(name)
	owners := ownership.Owners(d.ManagedFields, hold.Deployment{}.Field())
	s := w.session("session-"+name, d, 3, false)
	s.Status.Record.ReplicaOwners = owners
	if !begun {
		s.Status.HeldAt = nil
	}
	w.saves(s)
	claim := v1alpha1.NewClaim(d.UID, s.UID, s.Name, "ada", 3, time.Now())
	w.must(holder.Claim(w.t.Context(), d, claim))
	if !begun {
		return
	}
	w.must(holder.Zero(w.t.Context(), hold.Deployment{}, d, claim, owners))
	_, err = holder.GiveBack(w.t.Context(), hold.Deployment{}, d, owners, true)
	w.must(err)
}

func (w *world) read(name string) *appsv1.Deployment {
	w.t.Helper()
	d, err := w.kube.AppsV1().Deployments(w.namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	w.must(err)
	return d
}

func (w *world) saves(s *v1alpha1.Session) {
	w.t.Helper()
	current, err := w.sessions.Get(w.t.Context(), s.Name, metav1.GetOptions{})
	w.must(err)
	s.ResourceVersion = current.GetResourceVersion()
	_, err = w.sessions.UpdateStatus(w.t.Context(), w.plain(s), metav1.UpdateOptions{})
	w.must(err)
}

func (w *world) applies(name, manager string, replicas int32) {
	w.t.Helper()
	force := true // who has made it owns the number too
	text := fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": %q}, "spec": {"replicas": %d}}`, name, replicas)
	_, err := w.kube.AppsV1().Deployments(w.namespace).Patch(w.t.Context(), name, types.ApplyPatchType, []byte(text), metav1.PatchOptions{FieldManager: manager, Force: &force})
	w.must(err)
}

// writes has somebody update the number, and no more.
func (w *world) writes(name, manager string, replicas int32) {
	w.t.Helper()
	_, err := w.kube.AppsV1().Deployments(w.namespace).Patch(w.t.Context(), name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{FieldManager: manager})
	w.must(err)
}

// strips has somebody write it back without the claim.
func (w *world) strips(name string) {
	w.t.Helper()
	d := w.read(name)
	delete(d.Annotations, v1alpha1.ClaimAnnotation)
	_, err := w.kube.AppsV1().Deployments(w.namespace).Update(w.t.Context(), d, metav1.UpdateOptions{FieldManager: "kubectl-replace"})
	w.must(err)
}

// Only a zero of the operator's own is replaced, as the operator itself would do: one
// that somebody has written since is what they want, and is named.
func TestOnlyOurZeroIsReplaced(t *testing.T) {
	zero := func(w *world, name string) {
		w.writes(name, "kubectl-edit", 5)
		w.writes(name, "kubectl-edit", 0)
	}
	const back = "is put back: replicas: 3"
	kept := func(by string) string {
		return "is left at replicas: 0, which " + by + " has set since; before it had replicas: 3"
	}
	for name, c := range map[string]struct {
		unbegun bool
		since   func(*world, string)
		want    int32
		say     string
	}{
		"claimed":                     {false, func(*world, string) {}, 3, back},
		"stripped":                    {false, func(w *world, name string) { w.strips(name) }, 3, back},
		"claimed-another-zero":        {false, zero, 0, kept("kubectl-edit")},
		"stripped-another-zero":       {false, func(w *world, name string) { w.strips(name); zero(w, name) }, 0, kept("kubectl-edit")},
		"claimed-ours-applied":        {false, func(w *world, name string) { w.applies(name, "argocd-controller", 0) }, 3, back},
		"stripped-ours-applied":       {false, func(w *world, name string) { w.strips(name); w.applies(name, "argocd-controller", 0) }, 3, back},
		"claimed-another-number":      {false, func(w *world, name string) { w.writes(name, "kubectl-edit", 5) }, 5, "the claim on"},
		"claimed-zero-before-ours":    {true, func(w *world, name string) { w.writes(name, "kubectl-edit", 0) }, 0, kept("kubectl-edit")},
		"claimed-recorded-since":      {false, func(w *world, name string) { w.remembers(name, 7) }, 7, "is put back: replicas: 7"},
		"damaged-another-zero":        {false, func(w *world, name string) { zero(w, name); w.annotate(w.read(name), "{") }, 0, kept("kubectl-edit")},
		"stripped-session-without-it": {true, func(w *world, name string) { w.strips(name); w.writes(name, "kubectl-edit", 0) }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.held(name, !c.unbegun)
			c.since(w, name)
			planned, err := w.run(true)
			w.must(err)
			said, err := w.run(false)
			w.must(err)
			if n := w.replicas(name); n != c.want {
				t.Errorf("it is at %d, not %d", n, c.want)
			}
			about := func(said []string) string {
				return strings.Join(slices.DeleteFunc(slices.Clone(said), func(s string) bool { return strings.HasPrefix(s, "session ") }), "\n")
			}
			plan := strings.Replace(c.say, "is put back", "would be put back", 1)
			if !strings.Contains(about(said), c.say) || !strings.Contains(about(planned), plan) || c.say == "" && about(said) != "" {
				t.Errorf("it says %q, and before it %q, want %q", said, planned, c.say)
			}
			if by := w.owners(name); slices.ContainsFunc(by, func(m string) bool { return m == operatorName || m == fieldManager }) {
				t.Errorf("its number is owned by %v", by)
			}
		})
	}
}

// What scales a workload was paused with a claim of its own. Where that was stripped
// off the Session knows of it, and a pause of somebody else's is left.
func TestAutoscalerIsRemembered(t *testing.T) {
	now := metav1.NowMicro()
	scaled := v1alpha1.Session{Status: v1alpha1.SessionStatus{HeldAt: &now, Record: &v1alpha1.Record{
		UID: "worker", Replicas: 3, Returned: true, Autoscalers: []v1alpha1.Autoscaler{{Group: "keda.sh", Resource: "scaledobjects", Name: "worker", UID: "scaler", Replicas: 1}},
	}}}
	resumed := *scaled.DeepCopy()
	resumed.Status.Record.Autoscalers[0].Resumed = true
	pausedBy := func(manager string) *unstructured.Unstructured {
		object := &unstructured.Unstructured{Object: map[string]any{}}
		object.SetUID("scaler")
		object.SetAnnotations(map[string]string{pausedAnnotation: "true"})
		object.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: metav1.NewFieldsV1(`{"f:metadata": {"f:annotations": {"f:` + pausedAnnotation + `": {}}}}`),
		}})
		return object
	}
	for name, c := range map[string]struct {
		session v1alpha1.Session
		by      string
		want    verdict
	}{
		"ours":                  {scaled, operatorName, verdict{decision: number, replicas: 1}},
		"somebody's":            {scaled, "kubectl-annotate", verdict{replicas: 1, kept: "kubectl-annotate"}},
		"somebody's, afterward": {resumed, "kubectl-annotate", verdict{replicas: 1}},
	} {
		r := &restorer{sessions: []v1alpha1.Session{c.session}}
		object := pausedBy(c.by)
		if got := decide(object, []string{"metadata", "annotations", pausedAnnotation}, r.memory(object), false); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// remembers has the record of the session know a newer number than the claim, as it
// does when the operator is killed between the two.
func (w *world) remembers(name string, replicas int32) {
	w.t.Helper()
	current, err := w.sessions.Get(w.t.Context(), "session-"+name, metav1.GetOptions{})
	w.must(err)
	s := &v1alpha1.Session{}
	w.must(into(current, s))
	s.Status.Record.Replicas = replicas
	w.saves(s)
}

// owners of the number, by name.
func (w *world) owners(name string) (managers []string) {
	w.t.Helper()
	for _, entry := range w.read(name).ManagedFields {
		if strings.Contains(entry.FieldsV1.GetRawString(), `"f:replicas"`) && entry.Subresource == "" {
			managers = append(managers, entry.Manager)
		}
	}
	return managers
}

// A run that leaves something to a person leaves the Sessions too. What it has put back
// is the team's from then on, and a zero of theirs is not taken for the hold's by the
// next one.
func TestPutBackOnce(t *testing.T) {
	w := newWorld(t)
	w.held("worker", true)
	w.annotate(w.deploy("lost"), "{")
	if _, err := w.run(false); err == nil || !strings.Contains(err.Error(), "1 left to a person") {
		t.Fatalf("the error is %v", err)
	}
	if n := w.replicas("worker"); n != 3 {
		t.Fatalf("it is at %d, not 3", n)
	}
	w.applies("worker", "team", 0)
	if said, err := w.run(false); err == nil || strings.Contains(strings.Join(said, "\n"), "/worker") {
		t.Errorf("it says %q (%v)", said, err)
	}
	if n := w.replicas("worker"); n != 0 {
		t.Errorf("the team's 0 has become %d", n)
	}
}
