package session

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func (w *world) askTargetless(name string) {
	w.t.Helper()
	w.must(w.Create(w.ctx, &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.SessionSpec{
			Takeover: v1alpha1.TakeoverNone, Owner: v1alpha1.Owner{Username: name + "@example.com"}, ClientKey: clientKey,
		},
	}))
}

// A session without a target, in a namespace that takes only restricted pods,
// beside a workload that it does not look at.
func TestSessionWithoutTarget(t *testing.T) {
	w := newWorld(t)
	namespace := &corev1.Namespace{}
	w.must(w.Get(w.ctx, client.ObjectKey{Name: w.namespace}, namespace))
	namespace.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	w.must(w.Update(w.ctx, namespace))
	w.askTargetless("alice")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "the session is ready", func() bool { return w.isReady("alice") })

	session := w.session("alice")
	w.checkMadeFor(session)
	pod := &corev1.Pod{}
	w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: session.Status.Agent.PodName}, pod))
	if len(pod.Spec.Containers) != 1 || len(pod.Spec.InitContainers) != 0 || pod.Spec.Containers[0].Image != operator.Agent.Image {
		t.Errorf("the pod is made of %+v and %+v", pod.Spec.InitContainers, pod.Spec.Containers)
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Secret == nil || volume.Secret.SecretName != "alice-agent-1" {
			t.Errorf("the pod has the volume %+v", volume)
		}
	}
	if len(pod.Labels) != 1 {
		t.Errorf("the pod has the labels %q", pod.Labels)
	}
	for _, condition := range session.Status.Conditions {
		if condition.Status == metav1.ConditionUnknown && condition.Type != v1alpha1.ConditionRestored {
			t.Errorf("%s is never come to", condition.Type)
		}
	}

	// Its pod goes: another one is made, with another key.
	print := session.Status.Agent.CertificateFingerprint
	w.must(w.Delete(w.ctx, pod, client.GracePeriodSeconds(0)))
	w.drive(operator, "alice", "another pod runs", func() bool {
		return w.isReady("alice") && w.session("alice").Status.Agent.Incarnation == 2
	})
	if again := w.session("alice").Status.Agent.CertificateFingerprint; again == print {
		t.Error("the key is that of the pod that is gone")
	}

	w.must(w.Delete(w.ctx, w.session("alice")))
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	var pods corev1.PodList
	w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace)))
	for _, left := range pods.Items {
		if left.DeletionTimestamp.IsZero() {
			t.Errorf("pod %s is left", left.Name)
		}
	}
}

// Without the policies nobody has checked that its owner may have one.
func TestSessionWithoutTargetNeedsThePolicy(t *testing.T) {
	w := newWorld(t)
	w.askTargetless("alice")
	operator := w.operator(w.WithWatch)
	operator.PolicyName = "understudy-of-nobody"
	w.drive(operator, "alice", "the session ends", func() bool {
		return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonPolicyMissing
	})
	if w.session("alice").Status.Agent != nil {
		t.Error("an agent was made")
	}
}
