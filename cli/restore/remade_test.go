package restore

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

// Where a policy of the cluster's makes another number of the one that is put back, it
// is not said to be back, and what is known of it is kept for the next run: by the
// Session, and by the claim where there is none.
func TestRemadeNumberIsLeftToAPerson(t *testing.T) {
	for _, c := range []struct {
		made                int
		stripped, sessioned bool
	}{{0, false, true}, {0, true, true}, {2, false, true}, {2, true, true}, {0, false, false}, {2, false, false}} {
		t.Run(fmt.Sprintf("made %d, stripped %t, with a session %t", c.made, c.stripped, c.sessioned), func(t *testing.T) {
			w := newWorld(t)
			w.held("worker", true)
			if c.stripped {
				w.strips("worker")
			}
			if !c.sessioned {
				_, err := w.sessions.Patch(t.Context(), "session-worker", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
				w.must(err)
				w.must(w.sessions.Delete(t.Context(), "session-worker", metav1.DeleteOptions{}))
			}
			admin, err := client.New(w.config, client.Options{})
			w.must(err)
			expression := fmt.Sprintf("Object{spec: Object.spec{replicas: object.spec.replicas == oldObject.spec.replicas ? object.spec.replicas : %d}}", c.made)
			undo := apitest.Mutate(t, admin, w.namespace, appsv1.SchemeGroupVersion.WithResource("deployments"), expression, func() bool {
				d, err := w.kube.AppsV1().Deployments(w.namespace).Patch(t.Context(), "worker", types.MergePatchType, []byte(`{"spec":{"replicas":9}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
				w.must(err)
				return *d.Spec.Replicas == int32(c.made)
			})
			for range 2 {
				said, err := w.run(false)
				if err == nil || !strings.Contains(err.Error(), "1 left to a person") {
					t.Errorf("the error is %v", err)
				}
				if all := strings.Join(said, "\n"); strings.Contains(all, "is put back") || strings.Count(all, fmt.Sprintf("/worker is not back: replicas: 3 was written, and replicas: %d came of it", c.made)) != 1 {
					t.Errorf("it says:\n%s", all)
				}
				d := w.read("worker")
				if _, claimed := d.Annotations[v1alpha1.ClaimAnnotation]; claimed == c.stripped || int(*d.Spec.Replicas) != c.made {
					t.Errorf("it is at %d, and has %v", *d.Spec.Replicas, d.Annotations)
				}
			}
			undo()
			said, err := w.run(false)
			w.must(err)
			if n := w.replicas("worker"); n != 3 {
				t.Errorf("it is at %d, not 3: %q", n, said)
			}
			if by := w.owners("worker"); !strings.Contains(strings.Join(by, " "), "team") {
				t.Errorf("its number is owned by %v", by)
			}
		})
	}
}
