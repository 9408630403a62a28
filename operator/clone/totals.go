package clone

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Totals are what a pod asks for as a whole, as quotas count it: with what the
// limit ranges fill in where the containers say nothing.
func Totals(spec *corev1.PodSpec, ranges []corev1.LimitRange) corev1.ResourceRequirements {
	container := boundsOf(ranges, corev1.LimitTypeContainer)
	totals := corev1.ResourceRequirements{
		Requests: aggregate(spec, func(c *corev1.Container) corev1.ResourceList { return effective(c.Resources, container).Requests }),
		Limits:   aggregate(spec, func(c *corev1.Container) corev1.ResourceList { return effective(c.Resources, container).Limits }),
	}
	if spec.Resources != nil {
		for name, quantity := range spec.Resources.Requests {
			totals.Requests[name] = quantity
		}
		for name, quantity := range spec.Resources.Limits {
			totals.Limits[name] = quantity
		}
	}
	return totals
}

// Outside says what of a pod is not within the limit ranges, each as a person
// names it: "memory of container app".
func Outside(spec *corev1.PodSpec, ranges []corev1.LimitRange) []string {
	var outside []string
	container, pod := boundsOf(ranges, corev1.LimitTypeContainer), boundsOf(ranges, corev1.LimitTypePod)
	for c := range everyContainer(spec) {
		resources := effective(c.Resources, container)
		for _, name := range container.names() {
			if !container.hold(resources, name) {
				outside = append(outside, fmt.Sprintf("%s of container %s", name, c.Name))
			}
		}
	}
	totals := Totals(spec, ranges)
	for _, name := range pod.names() {
		if !pod.hold(totals, name) {
			outside = append(outside, fmt.Sprintf("%s of the pod", name))
		}
	}
	return outside
}

// Unsaid are the containers of a pod that state no request, or no limit, of a
// resource, which a quota on it does not let through.
func Unsaid(spec *corev1.PodSpec, ranges []corev1.LimitRange, limit bool, name corev1.ResourceName) []string {
	if isPodLevel(spec, name) {
		return nil
	}
	bounds := boundsOf(ranges, corev1.LimitTypeContainer)
	var unsaid []string
	for c := range everyContainer(spec) {
		resources := effective(c.Resources, bounds)
		said := resources.Requests
		if limit {
			said = resources.Limits
		}
		if _, is := said[name]; !is {
			unsaid = append(unsaid, c.Name)
		}
	}
	return unsaid
}
