package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// From the moment that the number is back it is the team's: their next apply meets
// no conflict, however much the operator has to do, and a zero of theirs stays one
// while the session still waits for the workload's controller.
func TestNumberIsTheTeamsOnceItIsBack(t *testing.T) {
	for name, others := range map[string]int{"alone": 0, "in a crowd": crowd} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			operator := w.held(3)
			for i := range others {
				operator.returns.owes(types.NamespacedName{Namespace: "elsewhere", Name: fmt.Sprint(i)}, "", time.Now())
			}
			w.must(w.Delete(w.ctx, w.session("alice")))
			w.until("the number is back", func() bool {
				w.playKubelet()
				w.must(w.reconcile(operator, "alice"))
				return *w.deployment("worker").Spec.Replicas == 3
			})
			if w.session("alice") == nil {
				t.Fatal("there is no session left that could do anything wrong")
			}
			if err := w.team("worker", 0); err != nil {
				t.Errorf("the team's apply: %v", err)
			}
			for i := range others {
				operator.returns.paid(types.NamespacedName{Namespace: "elsewhere", Name: fmt.Sprint(i)}, "", "", time.Now())
			}
			w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
			if n := *w.deployment("worker").Spec.Replicas; n != 0 {
				t.Errorf("the team's zero has become %d", n)
			}
		})
	}
}

// forbid has the operator be refused every read of a group.
func (w *world) forbid(operator *Reconciler, group string) {
	operator.Live = interceptor.NewClient(w.WithWatch, interceptor.Funcs{
		Get: func(ctx context.Context, live client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if object.GetObjectKind().GroupVersionKind().Group == group {
				return apierrors.NewForbidden(schema.GroupResource{Group: group, Resource: "these"}, key.Name, errors.New("the operator cannot get it"))
			}
			return live.Get(ctx, key, object, options...)
		},
	})
}

// endRefused ends alice's session, and waits until what is left of it is refused.
func (w *world) endRefused(operator *Reconciler) {
	w.t.Helper()
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.until("it is refused", func() bool {
		w.play()
		_ = w.reconcile(operator, "alice")
		return w.conditionOf("alice", v1alpha1.ConditionRestored).Reason == v1alpha1.ReasonRefused
	})
}

// goesWithNamespace deletes the namespace, and waits until alice's session is gone.
func (w *world) goesWithNamespace(operator *Reconciler) {
	w.t.Helper()
	w.must(w.Delete(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}))
	w.until("the session is gone", func() bool {
		_ = w.reconcile(operator, "alice")
		return w.session("alice") == nil
	})
}

// The same for as long as what was stopped for the session may not be started: the
// session stays, perhaps for days, and the number is not its own any more.
func TestNumberIsTheTeamsWhileTheRestIsRefused(t *testing.T) {
	for name, zero := range map[string]func(w *world) error{
		"server-side apply": func(w *world) error { return w.team("worker", 0) },
		"an update by who had set it": func(w *world) error {
			return w.Patch(w.ctx, w.deployment("worker"), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":0}}`)), client.FieldOwner("kubectl-edit"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.withKinds()
			w.deploy("worker", 3)
			if name != "server-side apply" {
				w.must(w.Patch(w.ctx, w.deployment("worker"), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":2}}`)), client.FieldOwner("kubectl-edit")))
			}
			number := int(*w.deployment("worker").Spec.Replicas)
			w.until("it has settled", func() bool {
				w.play()
				d := w.deployment("worker")
				return w.running("worker") == number && d.Status.ObservedGeneration == d.Generation
			})
			s.scaled("worker")
			w.ask("alice", "worker")
			operator := w.operator(w.WithWatch)
			w.drive(operator, "alice", "ready", func() bool {
				s.playKEDA(scaledObjectKind)
				return w.isReady("alice")
			})
			w.forbid(operator, "keda.sh")
			w.must(w.Delete(w.ctx, w.session("alice")))
			w.until("the pods are back, and the rest is refused", func() bool {
				w.play()
				_ = w.reconcile(operator, "alice")
				return w.running("worker") == number && w.conditionOf("alice", v1alpha1.ConditionRestored).Reason == v1alpha1.ReasonRefused
			})
			w.must(zero(w))
			w.until("no pod runs", func() bool { w.play(); return w.running("worker") == 0 })
			for range 3 {
				w.play()
				_ = w.reconcile(operator, "alice")
			}
			if n := *w.deployment("worker").Spec.Replicas; n != 0 {
				t.Errorf("the team's zero has become %d", n)
			}
		})
	}
}

// A namespace is deleted after the right to an Application of another namespace was
// taken away. It is not kept for that, and what is left to do is said there.
func TestNamespaceDeletedWithoutTheRightToAnApplication(t *testing.T) {
	w, elsewhere := newWorld(t), newWorld(t)
	there := newArgo(elsewhere, allSwitches)
	w.deploy("worker", 3)
	w.must(w.Patch(w.ctx, w.deployment("worker"), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"argocd.argoproj.io/tracking-id":"shop:apps/Deployment:`+w.namespace+`/worker"}}}`))))
	object := there.yaml(`{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: shop}, spec: {project: default, syncPolicy: {automated: {selfHeal: true}}}}`)
	object.SetNamespace(elsewhere.namespace)
	w.must(there.apply(object, "owner"))
	object.Object["status"] = map[string]any{"resources": []any{map[string]any{"group": "apps", "version": "v1", "kind": "Deployment", "namespace": w.namespace, "name": "worker"}}}
	w.must(w.Update(w.ctx, object, client.FieldOwner("argocd-application-controller")))
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	operator.ArgoCD = []string{elsewhere.namespace}
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	if _, syncs := there.enabled(); syncs {
		t.Fatal("the application syncs")
	}
	w.forbid(operator, "argoproj.io")
	recorder := events.NewFakeRecorder(100)
	operator.Events = recorder
	w.endRefused(operator)
	w.goesWithNamespace(operator)
	for {
		select {
		case said := <-recorder.Events:
			if strings.Contains(said, "ApplicationLeftPaused") && strings.Contains(said, "understudy restore --all") {
				return
			}
		default:
			t.Fatal("nobody says that the application is left off")
		}
	}
}
