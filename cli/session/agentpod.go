package session

import (
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// AgentPod is what a configuration asks of the pod that an operator makes for the
// agent: of one with a target the resources alone.
func AgentPod(a config.Agent, targetless bool) v1alpha1.AgentPod {
	pod := v1alpha1.AgentPod{Resources: v1alpha1.AgentResources{Requests: a.Resources.Requests, Limits: a.Resources.Limits}}
	if targetless {
		pod.Labels, pod.Annotations, pod.PriorityClassName = a.Labels, a.Annotations, a.PriorityClass
		pod.NodeSelector, pod.Tolerations = a.NodeSelector, a.Tolerations
	}
	return pod
}
