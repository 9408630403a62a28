package session

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/clone"
)

// Delivery is what an administrator chose of how the agent's program gets into
// stand-ins.
type Delivery string

const (
	// DeliveryAuto is an image volume where the API server takes it and the
	// node's runtime can mount it, else an init container.
	DeliveryAuto  Delivery = "auto"
	DeliveryImage Delivery = "image"
	DeliveryInit  Delivery = "init"
)

// deliveries are the ways to be tried, best first.
func (v *visit) deliveries() []v1alpha1.AgentDelivery {
	agent := v.status().Agent
	switch {
	case v.targetless():
		return []v1alpha1.AgentDelivery{v1alpha1.DeliveryOwnImage}
	case v.Agent.Delivery == DeliveryImage:
		return []v1alpha1.AgentDelivery{v1alpha1.DeliveryImageVolume}
	case v.Agent.Delivery == DeliveryInit, agent != nil && agent.Delivery == v1alpha1.DeliveryInitContainer:
		return []v1alpha1.AgentDelivery{v1alpha1.DeliveryInitContainer}
	}
	return []v1alpha1.AgentDelivery{v1alpha1.DeliveryImageVolume, v1alpha1.DeliveryInitContainer}
}

// mayDeliverOtherwise says whether this stand-in has the program by an image
// volume, and nobody insists on that.
func (v *visit) mayDeliverOtherwise(pod *corev1.Pod) bool {
	return v.Agent.Delivery != DeliveryImage && clone.DeliveryOf(pod) == v1alpha1.DeliveryImageVolume
}

// deliverOtherwise makes the stand-in again with an init container. A runtime
// that cannot mount image volumes is not known before: the API server takes
// them all the same, and some runtimes mount an empty folder in their place.
func (v *visit) deliverOtherwise(ctx context.Context, why string) (bool, error) {
	agent := v.status().Agent
	v.event(corev1.EventTypeWarning, v1alpha1.ReasonImageVolumeFailed, "StandIn",
		"The agent did not start in "+agent.PodName+" on node "+agent.NodeName+" ("+why+"). It may be that its container runtime cannot mount image volumes; trying an init container. "+
			"If that works, set agent.delivery to init in the chart's values: sessions then start faster.")
	agent.Delivery = v1alpha1.DeliveryInitContainer
	return v.replaceStandIn(ctx, "The agent did not start from an image volume ("+why+"); making the stand-in again with an init container.")
}

// startFailure is why the runtime could not create or start the container; ""
// while it has not failed to, and for what has nothing to do with the runtime,
// such as an image that is not there.
func startFailure(pod *corev1.Pod, container string) string {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for _, status := range statuses {
			if status.Name != container {
				continue
			}
			if w := status.State.Waiting; w != nil && (w.Reason == "CreateContainerError" || w.Reason == "RunContainerError") {
				return orElse(w.Message, w.Reason)
			}
			for _, t := range []*corev1.ContainerStateTerminated{status.State.Terminated, status.LastTerminationState.Terminated} {
				if t != nil && (t.Reason == "StartError" || t.Reason == "ContainerCannotRun") {
					return orElse(t.Message, t.Reason)
				}
			}
		}
	}
	return ""
}
