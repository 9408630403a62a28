package session

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// A session from its creation to its end, and a workload that is afterwards
// what it was.
func TestSessionHoldsAndPutsBack(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)

	w.drive(operator, "alice", "the session is ready", func() bool { return w.isReady("alice") })
	if n := w.running("worker"); n != 0 {
		t.Errorf("%d pods of the workload run although the session is ready", n)
	}
	session := w.session("alice")
	if got := session.Status.Record.Replicas; got != 3 {
		t.Errorf("recorded %d replicas, want 3", got)
	}
	w.checkMadeFor(session)

	w.must(w.Delete(w.ctx, session))
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	w.checkSame(before, w.deployment("worker"))
	if left := w.leftovers("worker"); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	if err := w.team("worker", 5); err != nil {
		t.Errorf("the team's next apply: %v", err)
	}
}

// checkMadeFor looks at what was made for a ready session.
func (w *world) checkMadeFor(s *v1alpha1.Session) {
	w.t.Helper()
	agent := s.Status.Agent
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: s.Namespace, Name: name} }
	secret, role, binding, lease, pod := &corev1.Secret{}, &rbacv1.Role{}, &rbacv1.RoleBinding{}, &coordinationv1.Lease{}, &corev1.Pod{}
	w.must(w.Get(w.ctx, key(s.Name+"-agent-1"), secret))
	w.must(w.Get(w.ctx, key("understudy-"+s.Name), role))
	w.must(w.Get(w.ctx, key("understudy-"+s.Name), binding))
	w.must(w.Get(w.ctx, key(s.Name), lease))
	w.must(w.Get(w.ctx, key(agent.PodName), pod))
	for _, object := range []client.Object{secret, role, binding, lease, pod} {
		if !metav1.IsControlledBy(object, s) {
			w.t.Errorf("%T %s is not owned by the session", object, object.GetName())
		}
		if object.GetLabels()[v1alpha1.SessionLabel] != s.Name {
			w.t.Errorf("%T %s lacks the session's label", object, object.GetName())
		}
	}
	if pod.UID != agent.PodUID || len(agent.CertificateFingerprint) != 64 || agent.Port == 0 {
		w.t.Errorf("agent in the status: %+v", agent)
	}
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{s.Name}, Verbs: []string{"get", "update", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"pods/portforward"}, ResourceNames: []string{agent.PodName}, Verbs: []string{"get", "create"}},
	}
	if diff := cmp.Diff(want, role.Rules); diff != "" {
		w.t.Errorf("the owner's role (-want +got):\n%s", diff)
	}
	if len(binding.Subjects) != 1 || binding.Subjects[0].Name != s.Spec.Owner.Username || binding.Subjects[0].Kind != "User" {
		w.t.Errorf("the role is bound to %+v", binding.Subjects)
	}
}

// checkSame compares everything but resourceVersion, generation and times.
func (w *world) checkSame(before, after *appsv1.Deployment) {
	w.t.Helper()
	if diff := cmp.Diff(normal(w.t, before), normal(w.t, after)); diff != "" {
		w.t.Errorf("the workload differs (-before +after):\n%s", diff)
	}
}

func normal(t *testing.T, d *appsv1.Deployment) any {
	t.Helper()
	d = d.DeepCopy()
	d.ResourceVersion, d.Generation, d.Status.ObservedGeneration = "", 0, 0
	for i := range d.ManagedFields {
		d.ManagedFields[i].Time = nil
	}
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}
