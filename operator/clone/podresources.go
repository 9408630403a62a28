package clone

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// aggregate sums what the containers of a pod have of each resource, as the
// scheduler does: what runs together is added, what runs before is a minimum.
func aggregate(spec *corev1.PodSpec, of func(*corev1.Container) corev1.ResourceList) corev1.ResourceList {
	sum, sidecars, least := corev1.ResourceList{}, corev1.ResourceList{}, corev1.ResourceList{}
	for i := range spec.Containers {
		addTo(sum, of(&spec.Containers[i]))
	}
	for i := range spec.InitContainers {
		container := &spec.InitContainers[i]
		if isSidecar(container) {
			addTo(sum, of(container))
			addTo(sidecars, of(container))
			tighten(least, sidecars, 1)
			continue
		}
		now := sidecars.DeepCopy()
		addTo(now, of(container))
		tighten(least, now, 1)
	}
	tighten(sum, least, 1)
	return sum
}

func addTo(list, more corev1.ResourceList) {
	for name, quantity := range more {
		sum := list[name].DeepCopy()
		sum.Add(quantity)
		list[name] = sum
	}
}

// fitPod brings the whole pod within the bounds for pods, for which it may be
// too small without the application: by a greater share for the agent, or by
// the application's own, which was admitted before.
func fitPod(spec *corev1.PodSpec, agent *corev1.Container, original corev1.ResourceRequirements, pod, container bounds) {
	total := func() corev1.ResourceRequirements {
		return corev1.ResourceRequirements{
			Requests: aggregate(spec, func(c *corev1.Container) corev1.ResourceList { return effective(c.Resources, container).Requests }),
			Limits:   aggregate(spec, func(c *corev1.Container) corev1.ResourceList { return effective(c.Resources, container).Limits }),
		}
	}
	fits := func(name corev1.ResourceName) bool {
		return pod.hold(total(), name) && container.hold(effective(agent.Resources, container), name)
	}
	for _, name := range pod.names() {
		if isPodLevel(spec, name) || fits(name) {
			continue
		}
		raise(agent, name, pod, total)
		if !fits(name) {
			take(agent.Resources.Requests, original.Requests, name)
			take(agent.Resources.Limits, original.Limits, name)
		}
	}
}

// raise gives the agent what the pod lacks of one resource, request and limit.
func raise(agent *corev1.Container, name corev1.ResourceName, pod bounds, total func() corev1.ResourceRequirements) {
	limit, limited := agent.Resources.Limits[name]
	if least, ok := pod.min[name]; ok && limited {
		limit = plusLacking(limit, total().Limits[name], least)
		agent.Resources.Limits[name] = limit
	}
	wanted := pod.min[name].DeepCopy()
	if ratio, ok := pod.ratio[name]; ok {
		wanted = atLeast(wanted, divideUp(total().Limits[name], ratio))
	}
	request := plusLacking(agent.Resources.Requests[name], total().Requests[name], wanted)
	agent.Resources.Requests[name] = request
	if limited {
		agent.Resources.Limits[name] = atLeast(limit, request)
	}
}

// plusLacking adds to a share what its total lacks of what is wanted.
func plusLacking(share, total, wanted resource.Quantity) resource.Quantity {
	if total.Cmp(wanted) >= 0 {
		return share
	}
	lacking := wanted.DeepCopy()
	lacking.Sub(total)
	sum := share.DeepCopy()
	sum.Add(lacking)
	return sum
}

// take makes one resource of a list what it is in another.
func take(list, from corev1.ResourceList, name corev1.ResourceName) {
	delete(list, name)
	if quantity, ok := from[name]; ok {
		list[name] = quantity.DeepCopy()
	}
}

// isPodLevel says whether the pod itself asks for a resource, which then
// counts instead of the containers' sum.
func isPodLevel(spec *corev1.PodSpec, name corev1.ResourceName) bool {
	if spec.Resources == nil {
		return false
	}
	_, request := spec.Resources.Requests[name]
	_, limit := spec.Resources.Limits[name]
	return request || limit
}

// fitPodLevel takes the application's share out of what the pod as a whole asks
// for. Where the agent is alone in the pod its own requests say it all. Else
// the limits stay, for the other containers; a request becomes the sum where
// all of them say what they need, is less by the application's where that said
// so, and stays where nobody knows whose it is.
func fitPodLevel(spec, original *corev1.PodSpec, agent *corev1.Container, pod, container bounds) {
	if spec.Resources == nil {
		return
	}
	if len(running(spec)) == 1 {
		spec.Resources = nil
		return
	}
	requests := func(c *corev1.Container) corev1.ResourceList { return effective(c.Resources, container).Requests }
	for name, limit := range spec.Resources.Limits {
		if own, ok := agent.Resources.Limits[name]; ok {
			agent.Resources.Limits[name] = atMost(own, limit)
		}
		if own, ok := agent.Resources.Requests[name]; ok {
			agent.Resources.Requests[name] = atMost(own, limit)
		}
	}
	sum := aggregate(spec, requests)
	before := aggregate(original, requests)
	for _, name := range resourceNames(corev1.ResourceRequirements{Requests: spec.Resources.Requests}) {
		request := spec.Resources.Requests[name].DeepCopy()
		declared := !slices.ContainsFunc(running(spec), func(c *corev1.Container) bool {
			_, ok := requests(c)[name]
			return !ok && c.Name != agent.Name
		})
		switch {
		case declared && !isHugePage(name):
			request = sum[name].DeepCopy()
		default:
			request.Sub(before[name])
			request.Add(sum[name])
		}
		request = atLeast(request, sum[name])
		if isHugePage(name) {
			// Huge pages are not overcommitted: limit and request are one.
			if spec.Resources.Limits == nil {
				spec.Resources.Limits = corev1.ResourceList{}
			}
			setOrDelete(spec.Resources.Limits, name, request)
		} else if limit, ok := spec.Resources.Limits[name]; ok {
			request = atMost(request, limit)
		}
		setOrDelete(spec.Resources.Requests, name, request)
		pod.clamp(*spec.Resources, name)
	}
}

func setOrDelete(list corev1.ResourceList, name corev1.ResourceName, quantity resource.Quantity) {
	if quantity.Sign() <= 0 {
		delete(list, name)
		return
	}
	list[name] = quantity
}
