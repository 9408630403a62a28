package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// keepingSet keeps its claims at zero, or does not.
const keepingSet = `{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 2, serviceName: NAME, podManagementPolicy: Parallel, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `,
	persistentVolumeClaimRetentionPolicy: {whenScaled: POLICY, whenDeleted: Retain},
	volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}]}}`

// What is refused in the beginning is refused as long as the session lives: a
// workload that must not be held any more is not brought to zero again. The session
// says why and ends, and the workload keeps the number that it was given.
func TestRefusedWhileItIsHeld(t *testing.T) {
	s := newStage(t)
	s.start()
	patch := func(text string) func(*unstructured.Unstructured) {
		return func(object *unstructured.Unstructured) {
			s.must(s.Patch(s.ctx, object, client.RawPatch("application/merge-patch+json", []byte(text)), client.FieldOwner("helm")))
		}
	}
	parent := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "parent"}}
	s.must(s.Create(s.ctx, parent))
	var data []*corev1.PersistentVolumeClaim
	for _, c := range []struct {
		name            string
		text            string
		group, resource string
		meanwhile       func(*unstructured.Unstructured)
		reason, message string
		left            string
	}{
		{
			name: "remade", text: strings.Replace(keepingSet, "POLICY", "Retain", 1), group: "apps", resource: "statefulsets",
			meanwhile: func(object *unstructured.Unstructured) {
				s.must(s.Delete(s.ctx, object, client.PropagationPolicy(metav1.DeletePropagationOrphan)))
				s.awaits("it is gone", func() bool {
					return apierrors.IsNotFound(s.Get(s.ctx, client.ObjectKeyFromObject(object), object.DeepCopy()))
				})
				s.must(s.Create(s.ctx, s.named(strings.Replace(keepingSet, "POLICY", "Delete", 1), "remade")))
			},
			reason: v1alpha1.ReasonHoldRefused, message: "whenScaled is Delete", left: "replicas: 2",
		},
		{
			name: "upgraded", text: strings.Replace(keepingSet, "POLICY", "Retain", 1), group: "apps", resource: "statefulsets",
			meanwhile: patch(`{"spec":{"replicas":2,"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete"}}}`),
			reason:    v1alpha1.ReasonHoldRefused, message: "whenScaled is Delete", left: "replicas: 2",
		},
		{
			name: "queued", text: `{apiVersion: batch/v1, kind: Job, spec: {template: ` + jobTemplate + `}}`, group: "batch", resource: "jobs",
			meanwhile: patch(`{"metadata":{"labels":{"kueue.x-k8s.io/queue-name":"research"}},"spec":{"suspend":false}}`),
			reason:    v1alpha1.ReasonHoldRefused, message: "Kueue", left: "suspend: false",
		},
		{
			name: "adopted", text: `{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 2, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `}}`, group: "apps", resource: "deployments",
			meanwhile: patch(fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"parent","uid":%q,"controller":true}]},"spec":{"replicas":1}}`, parent.UID)),
			reason:    v1alpha1.ReasonTargetControlled, message: "ConfigMap parent", left: "replicas: 1",
		},
	} {
		object := s.named(c.text, c.name)
		s.must(s.Create(s.ctx, object))
		s.awaits(c.name+": its pods run", func() bool { return len(s.pods(c.name)) > 0 })
		s.askFor(c.name, v1alpha1.Target{Group: c.group, Resource: c.resource, Name: c.name, UID: object.GetUID(), Container: "worker"}, func(spec *v1alpha1.SessionSpec) { spec.RestartOK = true })
		s.awaits(c.name+": ready", func() bool { return s.isReady(c.name) })
		if strings.Contains(c.text, "volumeClaimTemplates") {
			data = append(data, s.claim("data-"+c.name+"-0"), s.claim("data-"+c.name+"-1"))
		}
		c.meanwhile(object)
		s.awaits(c.name+": the session is over", s.over(c.name))
		s.ended(c.name, c.reason)
		if ready := s.conditionOf(c.name, v1alpha1.ConditionReady); !strings.Contains(ready.Message, c.message) {
			t.Errorf("%s: it ended with %q, want %q", c.name, ready.Message, c.message)
		}
		s.must(s.Get(s.ctx, client.ObjectKeyFromObject(object), object))
		spec := object.Object["spec"].(map[string]any)
		field, _, _ := strings.Cut(c.left, ":")
		if got := fmt.Sprintf("%s: %v", field, spec[field]); got != c.left {
			t.Errorf("%s is left at %s, not %s", c.name, got, c.left)
		}
		if _, claimed := object.GetAnnotations()[v1alpha1.ClaimAnnotation]; claimed {
			t.Errorf("%s: the claim is left on it", c.name)
		}
		s.awaits(c.name+": its pods run again", func() bool { return len(s.pods(c.name)) > 0 })
	}
	s.settled()
	for _, was := range data {
		if now := s.claim(was.Name); now == nil || now.UID != was.UID || !now.DeletionTimestamp.IsZero() {
			t.Errorf("the claim %s was deleted with its data", was.Name)
		}
	}
}

// A Deployment whose place a Rollout has taken is at zero, and to hold it would hold
// nothing: whoever asks for it is told of the Rollout. Beside it one that is at zero
// for nobody is held as any other.
func TestDeploymentInWhosePlaceARolloutIs(t *testing.T) {
	s := newStage(t)
	s.start()
	const deployment = `{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 0, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `}}`
	ask := func(name string) {
		object := s.named(deployment, name)
		s.must(s.Create(s.ctx, object))
		s.askFor(name, v1alpha1.Target{Group: "apps", Resource: "deployments", Name: name, UID: object.GetUID(), Container: "worker"}, nil)
	}
	s.must(s.Create(s.ctx, s.named(`{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {replicas: 2, workloadRef: {apiVersion: apps/v1, kind: Deployment, name: replaced}}}`, "shop")))
	ask("replaced")
	s.awaits("the session is over", s.over("replaced"))
	s.ended("replaced", v1alpha1.ReasonTargetControlled)
	if ready := s.conditionOf("replaced", v1alpha1.ConditionReady); !strings.Contains(ready.Message, "(rollout/shop)") {
		t.Errorf("it says %q", ready.Message)
	}
	ask("at-zero")
	s.awaits("the other is ready", func() bool { return s.isReady("at-zero") })
}

// Where the cluster has Rollouts that the operator may not list, nobody knows whether
// one runs the pods of a Deployment at zero: it is not held.
func TestDeploymentAtZeroWithoutTheRightToRollouts(t *testing.T) {
	w := newWorld(t)
	w.withKinds()
	w.deploy("worker", 0)
	operator := w.operator(w.WithWatch)
	operator.Live = interceptor.NewClient(w.WithWatch, interceptor.Funcs{
		List: func(ctx context.Context, live client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if list.GetObjectKind().GroupVersionKind().Group == "argoproj.io" {
				return apierrors.NewForbidden(schema.GroupResource{Group: "argoproj.io", Resource: "rollouts"}, "", errors.New("the operator cannot list them"))
			}
			return live.List(ctx, list, options...)
		},
	})
	w.ask("alice", "worker")
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonTargetControlled)
	if ready := w.conditionOf("alice", v1alpha1.ConditionReady); !strings.Contains(ready.Message, "workloads.argoRollouts") {
		t.Errorf("it says %q", ready.Message)
	}
}

// A custom resource has no default for a number that a manifest leaves out while it
// is held: it is no number of anybody's. It is brought to zero again, and what it was
// comes back, also when it is left out at the last moment. One that is made anew
// without a number is not held, for nobody knows what to put back.
func TestNumberLeftOut(t *testing.T) {
	s := newStage(t)
	const worker = `{apiVersion: example.com/v1, kind: Worker, spec: {REPLICAS template: ` + podTemplate + `}}`
	object := s.named(strings.Replace(worker, "REPLICAS", "replicas: 2,", 1), "worker")
	s.must(s.Create(s.ctx, object, client.FieldOwner("kubectl-client-side-apply")))
	s.awaits("its pods run", func() bool { return len(s.pods("worker")) == 2 })
	operator := s.operator(s.WithWatch)
	operator.Kinds = hold.AllKinds(s.custom...)
	number := func() string {
		s.must(s.Get(s.ctx, client.ObjectKeyFromObject(object), object))
		n, found, _ := unstructured.NestedInt64(object.Object, "spec", "replicas")
		return fmt.Sprint(n, found)
	}
	ask := func(name string) {
		s.must(s.Get(s.ctx, client.ObjectKeyFromObject(object), object))
		s.askFor(name, v1alpha1.Target{Group: "example.com", Resource: "workers", Name: "worker", UID: object.GetUID(), Container: "worker"}, nil)
		s.awaits(name+" is ready", func() bool { s.must(s.reconcile(operator, name)); return s.isReady(name) })
	}
	leaveOut := func() {
		s.must(s.Patch(s.ctx, object.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":null}}`)), client.FieldOwner("kubectl-client-side-apply")))
		if got := number(); got != "0 false" {
			t.Fatalf("it has a number: %s", got)
		}
	}
	end := func(name string) {
		s.must(s.Delete(s.ctx, s.session(name)))
		s.awaits(name+" is gone", func() bool { s.must(s.reconcile(operator, name)); return s.session(name) == nil })
	}

	ask("alice")
	for range 2 {
		leaveOut()
		s.awaits("it is at zero again", func() bool { s.must(s.reconcile(operator, "alice")); return number() == "0 true" })
		if r := s.session("alice").Status.Record; r.Replicas != 2 {
			t.Errorf("recorded %+v", r)
		}
	}
	end("alice")
	if got := number(); got != "2 true" {
		t.Errorf("it comes back at %s, not 2", got)
	}
	s.awaits("its pods run again", func() bool { return len(s.pods("worker")) == 2 })
	ask("bob")
	leaveOut()
	end("bob")
	if got := number(); got != "2 true" {
		t.Errorf("it comes back at %s, not 2", got)
	}

	s.awaits("its pods run again", func() bool { return len(s.pods("worker")) == 2 })
	ask("carol")
	s.must(s.Delete(s.ctx, object))
	s.must(s.Create(s.ctx, s.named(strings.Replace(worker, "REPLICAS", "", 1), "worker")))
	s.awaits("the session is over", func() bool { s.must(s.reconcile(operator, "carol")); return s.over("carol")() })
	s.ended("carol", v1alpha1.ReasonHoldRefused)
	if got := number(); got != "0 false" {
		t.Errorf("its number was guessed: %s", got)
	}
}

// named reads YAML of an object that has its name in it.
func (s *stage) named(text, name string) *unstructured.Unstructured {
	s.t.Helper()
	object := s.object(strings.ReplaceAll(text, "NAME", name))
	object.SetName(name)
	object.SetNamespace(s.namespace)
	return object
}
