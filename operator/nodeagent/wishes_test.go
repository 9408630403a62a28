package nodeagent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// What its owner wants is in the agent's pod, and in that of the one that thaws for
// it, which has to start where the first one did; what makes it an agent is not
// theirs to change.
func TestWishes(t *testing.T) {
	o := soloForTest("shop")
	o.Wishes = Wishes{
		Labels:        map[string]string{"team": "a", "sidecar.istio.io/inject": "true"},
		Annotations:   map[string]string{"why": "x", "linkerd.io/inject": "enabled"},
		Resources:     v1alpha1.AgentResources{Requests: corev1.ResourceList{"memory": resource.MustParse("200Mi")}, Limits: corev1.ResourceList{"cpu": resource.MustParse("1")}},
		PriorityClass: "high", ServiceAccount: "agents", PullPolicy: corev1.PullNever, PullSecrets: []corev1.LocalObjectReference{{Name: "registry"}},
		AppArmor: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: ptr.To("agents")},
		Seccomp:  &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	plain := o
	plain.Wishes = Wishes{}
	for name, pods := range map[string][2]*corev1.Pod{"freezes": {Solo(plain), Solo(o)}, "thaws": {SoloThaw(plain), SoloThaw(o)}} {
		want, got := pods[0], pods[1]
		want.Labels["team"], want.Annotations["why"] = "a", "x"
		want.Spec.PriorityClassName, want.Spec.ServiceAccountName, want.Spec.ImagePullSecrets = "high", "agents", o.Wishes.PullSecrets
		want.Spec.SecurityContext = &corev1.PodSecurityContext{AppArmorProfile: o.Wishes.AppArmor, SeccompProfile: o.Wishes.Seccomp}
		want.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
		want.Spec.Containers[0].Resources = corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("10m"), "memory": resource.MustParse("200Mi")},
			Limits:   corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("200Mi")}, // not less than what is asked for
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what %s (-want +got):\n%s", name, diff)
		}
	}
}
