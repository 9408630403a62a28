package clone

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Source is what a stand-in is made from. The zero Source is of no use: take
// FromTemplate or FromPod.
type Source struct {
	namespace string
	template  corev1.PodTemplateSpec
}

// FromTemplate takes an owner's pod template. Admission has not run on it, so
// it runs on the stand-in as it does on the owner's own pods.
func FromTemplate(namespace string, template corev1.PodTemplateSpec) Source {
	return Source{namespace: namespace, template: *template.DeepCopy()}
}

// FromPod takes a pod that nothing owns. What admission, the scheduler and the
// kubelet added to it is left out again.
func FromPod(pod *corev1.Pod) Source {
	copied := pod.DeepCopy()
	source := Source{
		namespace: copied.Namespace,
		template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: copied.Labels, Annotations: copied.Annotations},
			Spec:       copied.Spec,
		},
	}
	stripLive(&source.template)
	return source
}
