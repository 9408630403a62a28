package session

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

var gadgets = scalableKind("gadget", "Gadget")

// The kind of a held workload is removed from the cluster, and its objects with
// it. There is nothing left to put back, and the session ends.
func TestDefinitionRemoved(t *testing.T) {
	s := newStage(t)
	definition := s.object(gadgets)
	s.must(s.Create(s.ctx, definition))
	object := s.object(`{apiVersion: example.com/v1, kind: Gadget, metadata: {name: g}, spec: {replicas: 2, template: {spec: {containers: [{name: worker, image: registry.example/worker:1}]}}}}`)
	object.SetNamespace(s.namespace)
	s.awaits("it is served", func() bool { return s.Create(s.ctx, object) == nil })
	object.Object["status"] = map[string]any{"selector": "app=g", "replicas": int64(0)}
	s.must(s.Status().Update(s.ctx, object))
	operator := s.operator(s.WithWatch)
	operator.Kinds = hold.AllKinds(schema.GroupResource{Group: "example.com", Resource: "gadgets"})
	s.askFor("bob", v1alpha1.Target{Group: "example.com", Resource: "gadgets", Name: "g", UID: object.GetUID(), Container: "worker"}, nil)
	s.drive(operator, "bob", "ready", func() bool { return s.isReady("bob") })

	s.must(s.Delete(s.ctx, definition))
	s.awaits("it is removed", func() bool {
		return apierrors.IsNotFound(s.Get(s.ctx, client.ObjectKeyFromObject(definition), definition.DeepCopy()))
	})
	s.drive(operator, "bob", "the session is over", s.over("bob"))
	if c := s.conditionOf("bob", v1alpha1.ConditionRestored); c.Reason != v1alpha1.ReasonWorkloadGone {
		t.Errorf("Restored is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	s.end(operator, "bob")
}

// An operator that is started when the kind has gone does not find it at all.
func TestKindUnknownToTheCluster(t *testing.T) {
	w := newWorld(t)
	operator := w.held(3)
	operator.Live = interceptor.NewClient(w.WithWatch, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
		if _, ok := object.(*appsv1.Deployment); ok {
			return &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "apps", Kind: "Deployment"}}
		}
		return c.Get(ctx, key, object, options...)
	}})
	w.end(operator, "alice")
}

// An upgrade of the chart has no workloads.custom any more, under an open session.
// It ends, and says what it takes to put the workload back; then that comes back.
func TestKindTakenFromTheOperator(t *testing.T) {
	s := newStage(t)
	object := s.object(`{apiVersion: example.com/v1, kind: Worker, metadata: {name: g}, spec: {replicas: 2, template: {metadata: {labels: {app: g}}, spec: {containers: [{name: worker, image: registry.example/worker:1}]}}}}`)
	object.SetNamespace(s.namespace)
	s.must(s.Create(s.ctx, object))
	s.awaits("it runs", func() bool { return len(s.pods("g")) == 2 })
	operator := s.operator(s.WithWatch)
	operator.Kinds = hold.AllKinds(s.custom...)
	s.askFor("bob", v1alpha1.Target{Group: "example.com", Resource: "workers", Name: "g", UID: object.GetUID(), Container: "worker"}, nil)
	look := func(r *Reconciler, so func() bool) func() bool {
		return func() bool {
			if err := s.reconcile(r, "bob"); err != nil {
				t.Logf("reconciling: %v", err)
			}
			return so()
		}
	}
	s.awaits("ready", look(operator, func() bool { return s.isReady("bob") }))

	upgraded := s.operator(s.WithWatch)
	s.awaits("it is said", look(upgraded, func() bool {
		c := s.conditionOf("bob", v1alpha1.ConditionRestored)
		return c.Reason == v1alpha1.ReasonTargetUnsupported && strings.Contains(c.Message, "workers.example.com") &&
			strings.Contains(c.Message, "workloads.custom") && strings.Contains(c.Message, "understudy restore -n "+s.namespace)
	}))
	s.must(s.Delete(s.ctx, s.session("bob")))
	s.must(s.reconcile(upgraded, "bob"))
	if c := s.conditionOf("bob", v1alpha1.ConditionRestored); s.session("bob") == nil || c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonTargetUnsupported {
		t.Fatalf("what the workload was is lost: Restored is %s, %s", c.Status, c.Reason)
	}
	s.awaits("the session is gone", look(operator, func() bool { return s.session("bob") == nil }))
	s.must(s.Get(s.ctx, client.ObjectKeyFromObject(object), object))
	if n, _, _ := unstructured.NestedInt64(object.Object, "spec", "replicas"); n != 2 {
		t.Errorf("%d replicas, want 2", n)
	}
}
