package session

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// quantities are a list as it is written.
func quantities(of corev1.ResourceList) map[corev1.ResourceName]string {
	texts := map[corev1.ResourceName]string{}
	for name, quantity := range of {
		texts[name] = quantity.String()
	}
	return texts
}

func (w *world) agentOf(name string) *corev1.Pod {
	w.t.Helper()
	agent, pod := w.session(name).Status.Agent, &corev1.Pod{}
	namespace := agent.Namespace
	if namespace == "" {
		namespace = w.namespace
	}
	w.must(w.Get(w.ctx, client.ObjectKey{Namespace: namespace, Name: agent.PodName}, pod))
	return pod
}

// The empty pod of a session without a target is labelled, placed and as large as
// its owner has asked, in whatever form the quantities were written.
func TestEmptyPodIsAsAsked(t *testing.T) {
	w := newWorld(t)
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, Value: 7}
	w.must(w.Create(w.ctx, class))
	t.Cleanup(func() { _ = w.Delete(w.ctx, class) })
	w.must(w.Create(w.ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Session",
		"metadata": map[string]any{"namespace": w.namespace, "name": "alice"},
		"spec": map[string]any{
			"takeover": "None", "owner": map[string]any{"username": "alice@example.com"}, "clientKey": clientKey,
			"agent": map[string]any{
				"labels": map[string]any{"team": "a"}, "annotations": map[string]any{"why": "x"}, "nodeSelector": map[string]any{"disk": "ssd"},
				"tolerations":       []any{map[string]any{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}},
				"priorityClassName": w.namespace,
				"resources":         map[string]any{"requests": map[string]any{"cpu": "0.5", "memory": "96Mi"}, "limits": map[string]any{"cpu": int64(1)}},
			},
		},
	}}))
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "the session is ready", func() bool { return w.isReady("alice") })

	pod := w.agentOf("alice")
	if pod.Labels["team"] != "a" || pod.Labels[v1alpha1.SessionLabel] != "alice" || pod.Annotations["why"] != "x" {
		t.Errorf("the pod has the labels %v and the annotations %v", pod.Labels, pod.Annotations)
	}
	tolerates := corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}
	if pod.Spec.NodeSelector["disk"] != "ssd" || len(pod.Spec.Tolerations) == 0 || pod.Spec.Tolerations[0] != tolerates || *pod.Spec.Priority != 7 {
		t.Errorf("the pod is placed by %v, %v and %d", pod.Spec.NodeSelector, pod.Spec.Tolerations, *pod.Spec.Priority)
	}
	requests, limits := quantities(pod.Spec.Containers[0].Resources.Requests), quantities(pod.Spec.Containers[0].Resources.Limits)
	if diff := cmp.Diff(map[corev1.ResourceName]string{"cpu": "500m", "memory": "96Mi"}, requests); diff != "" {
		t.Errorf("it asks for (-want +got):\n%s", diff)
	}
	// More memory was asked for than the agent's own limit: that becomes the limit.
	if diff := cmp.Diff(map[corev1.ResourceName]string{"cpu": "1", "memory": "96Mi"}, limits); diff != "" {
		t.Errorf("it gets (-want +got):\n%s", diff)
	}

	w.must(w.Delete(w.ctx, w.session("alice")))
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
}

// A class that there is not ends the session, in the API server's words.
func TestEmptyPodThatIsRefused(t *testing.T) {
	w := newWorld(t)
	w.must(w.Create(w.ctx, &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "alice"},
		Spec: v1alpha1.SessionSpec{
			Takeover: v1alpha1.TakeoverNone, Owner: v1alpha1.Owner{Username: "alice@example.com"}, ClientKey: clientKey,
			Agent: v1alpha1.AgentPod{PriorityClassName: "nobody-made-it"},
		},
	}))
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "the session ends", func() bool {
		ready := w.conditionOf("alice", v1alpha1.ConditionReady)
		return ready.Reason == v1alpha1.ReasonStandInRefused && strings.Contains(ready.Message, "no PriorityClass with name nobody-made-it was found")
	})
}

var roomy = v1alpha1.AgentResources{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")}}

// An agent with a target has the resources that were asked for, wherever it is.
func TestAgentIsAsLargeAsAsked(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 1)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.Agent.Resources = roomy })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "the session is ready", func() bool { return w.isReady("alice") })
	for _, container := range w.agentOf("alice").Spec.Containers {
		if container.Name == "worker" && container.Resources.Limits.Memory().String() != "256Mi" {
			t.Errorf("the stand-in's agent gets %v", container.Resources.Limits)
		}
	}

	f := newFrozenWorld(newWorld(t))
	f.askFreeze("alice", func(s *v1alpha1.SessionSpec) { s.Agent.Resources = roomy })
	freezer := f.freezer(f.WithWatch)
	f.driveNode(freezer, "alice", "the session is ready", func() bool { return f.isReady("alice") })
	if got := f.agentOf("alice").Spec.Containers[0].Resources; got.Limits.Memory().String() != "256Mi" || got.Requests.Memory().String() != "32Mi" {
		t.Errorf("the agent on the node gets %v", got)
	}
}
