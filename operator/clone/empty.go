package clone

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// EmptyContainer is the only container of a pod that stands in for nothing.
const EmptyContainer = "agent"

// FromNothing is the source of a pod that stands in for nothing: the agent's
// own image, nobody's account, no volumes, and all that the restricted Pod
// Security level asks for, labelled and placed as the owner asks. Its Options have the delivery OwnImage.
func FromNothing(namespace string, opts Options) Source {
	return Source{namespace: namespace, template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{
		Labels: opts.Agent.Labels, Annotations: opts.Agent.Annotations,
	}, Spec: corev1.PodSpec{
		NodeSelector: opts.Agent.NodeSelector, Tolerations: opts.Agent.Tolerations, PriorityClassName: opts.Agent.PriorityClassName,
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
