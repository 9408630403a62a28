package clone

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// EmptyContainer is the only container of a pod that stands in for nothing.
const EmptyContainer = "agent"

// FromNothing is the source of a pod that stands in for nothing: the agent's
// own image, nobody's account, no volumes, and all that the restricted Pod
// Security level asks for. Its Options have the delivery OwnImage.
func FromNothing(namespace string, opts Options) Source {
	return Source{namespace: namespace, template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		AutomountServiceAccountToken: ptr.To(false),
		EnableServiceLinks:           ptr.To(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   ptr.To(true),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: EmptyContainer, Image: opts.AgentImage, ImagePullPolicy: opts.AgentPullPolicy,
			SecurityContext: narrow(nil),
		}},
	}}}
}
