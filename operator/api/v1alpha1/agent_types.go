package v1alpha1

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
)

// AgentPod is what the owner asks of the pod that the agent is in. Of one with a target
// that is resources alone: a stand-in has its target's labels and place, and an agent
// on a node is in a namespace that is not the owner's.
// +kubebuilder:validation:XValidation:rule="!has(self.labels) || self.labels.all(k, !k.startsWith('understudy.dev/'))",message="labels of understudy.dev are not the owner's to give"
// +kubebuilder:validation:XValidation:rule="!has(self.annotations) || self.annotations.all(k, !k.startsWith('understudy.dev/'))",message="annotations of understudy.dev are not the owner's to give"
type AgentPod struct {
	// Resources of the agent's container.
	// +optional
	Resources AgentResources `json:"resources,omitzero"`
	// Labels beside those that the session gives it.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations likewise.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// NodeSelector are labels of the nodes on which it may run.
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations are taints of the nodes on which it may run.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// PriorityClassName of the pod.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`
}

// AgentResources are what an agent's container asks for, and the most that it gets, of
// cpu, memory and ephemeral-storage; what is not named is as it is otherwise. In a
// stand-in they are brought within the namespace's limit ranges. Of one of these it may
// ask for 2 CPUs or 2Gi at most, and is not limited to less than 10m or 32Mi, with which
// it would be too late for its lease: admission sees to it.
type AgentResources struct {
	// +kubebuilder:validation:MaxProperties=3
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
	// +kubebuilder:validation:MaxProperties=3
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}

// Over are these resources over an agent's own. One that asks for more than its limit
// would be has that for its limit.
func (r AgentResources) Over(own corev1.ResourceRequirements) corev1.ResourceRequirements {
	of := *own.DeepCopy()
	maps.Copy(of.Requests, r.Requests)
	maps.Copy(of.Limits, r.Limits)
	for name, request := range of.Requests {
		if limit, ok := of.Limits[name]; ok && request.Cmp(limit) > 0 {
			of.Limits[name] = request.DeepCopy()
		}
	}
	return of
}
