package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// An upgrade of the chart takes rights away under an open session that has stopped
// KEDA and Argo CD. The number comes back all the same, and so does what may be
// given back; of the rest it is said what to set, and it follows when that is set.
func TestRightsOfOthersTakenAway(t *testing.T) {
	for name, c := range map[string]struct {
		away []string
		says []string
	}{
		"of KEDA":    {[]string{"keda.sh"}, []string{"ScaledObject worker is still paused", "workloads.keda"}},
		"of Argo CD": {[]string{"argoproj.io"}, []string{"/shop does not sync by itself yet", "gitops.argoCD.namespaces"}},
		"of both":    {[]string{"keda.sh", "argoproj.io"}, []string{"ScaledObject worker is still paused", "/shop does not sync by itself yet"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArgo(newWorld(t), allSwitches)
			s := a.withKinds()
			a.deploy("worker", 3)
			a.track("worker")
			a.application(`{selfHeal: true}`, "worker")
			scaler := s.scaled("worker")
			paused := func() bool {
				a.must(a.Get(a.ctx, client.ObjectKeyFromObject(scaler), scaler))
				return scaler.GetAnnotations()["autoscaling.keda.sh/paused"] == "true"
			}
			syncs := func() bool {
				_, automated := a.enabled()
				return automated
			}
			a.ask("alice", "worker")
			operator := a.may(a.WithWatch)
			a.drive(operator, "alice", "ready", func() bool {
				s.playKEDA(scaledObjectKind)
				return a.isReady("alice")
			})
			if !paused() || syncs() {
				t.Fatalf("KEDA is paused: %t, Argo CD syncs: %t", paused(), syncs())
			}

			may := false
			refuses := func(object client.Object) error {
				if u, ok := object.(*unstructured.Unstructured); ok && !may && slices.Contains(c.away, u.GroupVersionKind().Group) {
					return apierrors.NewForbidden(schema.GroupResource{Group: u.GroupVersionKind().Group, Resource: u.GetKind()}, "", errors.New("the operator cannot get it"))
				}
				return nil
			}
			operator.Live = interceptor.NewClient(a.WithWatch, interceptor.Funcs{
				Get: func(ctx context.Context, live client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
					if err := refuses(object); err != nil {
						return err
					}
					return live.Get(ctx, key, object, options...)
				},
			})
			recorder := events.NewFakeRecorder(100)
			operator.Events = recorder
			a.must(a.Delete(a.ctx, a.session("alice")))
			a.until("it is said", func() bool {
				a.play()
				_ = a.reconcile(operator, "alice")
				return a.conditionOf("alice", v1alpha1.ConditionRestored).Reason == v1alpha1.ReasonRefused
			})
			for range 5 {
				_ = a.reconcile(operator, "alice")
			}
			restored := a.conditionOf("alice", v1alpha1.ConditionRestored)
			for _, want := range append(c.says, "the number is back", "understudy restore -n "+a.namespace) {
				if restored.Status != metav1.ConditionFalse || !strings.Contains(restored.Message, want) {
					t.Errorf("Restored is %s, and does not say %q: %s", restored.Status, want, restored.Message)
				}
			}
			if n := told(recorder, "the operator cannot get it"); n != 2 {
				t.Errorf("said in %d events, want 2: of the session and of the workload", n)
			}
			d := a.deployment("worker")
			if _, claimed := d.Annotations[v1alpha1.ClaimAnnotation]; *d.Spec.Replicas != 3 || claimed {
				t.Errorf("%d replicas, want 3; claimed: %t", *d.Spec.Replicas, claimed)
			}
			if paused() != slices.Contains(c.away, "keda.sh") || syncs() == slices.Contains(c.away, "argoproj.io") {
				t.Errorf("KEDA is paused: %t, Argo CD syncs: %t", paused(), syncs())
			}
			may = true
			a.drive(operator, "alice", "the session is gone", func() bool { return a.session("alice") == nil })
			if paused() || !syncs() {
				t.Errorf("in the end KEDA is paused: %t, Argo CD syncs: %t", paused(), syncs())
			}
		})
	}
}
