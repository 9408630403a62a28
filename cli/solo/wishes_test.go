package solo

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// What the user wants of the agent's pod the API server has taken, and refuses before
// anything is made.
func TestWishes(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.check(Options{Wishes: nodeagent.Wishes{PriorityClass: "nobody-made-it"}}); err == nil || !strings.Contains(err.Error(), "no PriorityClass with name nobody-made-it was found") {
		t.Errorf("of a class that is not there it says %v", err)
	}
	w.nothingLeft(w.pod.Namespace)

	_, err := w.admin.Kube.SchedulingV1().PriorityClasses().Create(t.Context(), &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: w.pod.Namespace}, Value: 7}, metav1.CreateOptions{})
	w.must(err)
	t.Cleanup(func() {
		_ = w.admin.Kube.SchedulingV1().PriorityClasses().Delete(t.Context(), w.pod.Namespace, metav1.DeleteOptions{})
	})
	made := w.made(Options{Wishes: nodeagent.Wishes{
		Labels: map[string]string{"team": "a"}, PriorityClass: w.pod.Namespace, PullSecrets: []corev1.LocalObjectReference{{Name: "registry"}},
		Resources: v1alpha1.AgentResources{Limits: corev1.ResourceList{"memory": resource.MustParse("256Mi")}},
		Seccomp:   &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}})
	agent := w.frozenBy()
	spec := agent.Spec
	if agent.Labels["team"] != "a" || *spec.Priority != 7 || spec.NodeName != "node-1" || len(spec.ImagePullSecrets) != 1 || spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
		spec.Containers[0].Resources.Limits.Memory().String() != "256Mi" {
		t.Errorf("%s has the labels %v and is %+v", made.Image(), agent.Labels, spec)
	}
}
