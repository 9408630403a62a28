package clone

import (
	"iter"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// freeToSchedule takes away what would keep the stand-in waiting for somebody
// who does not know it. Where it may run at all stays: node selector, affinity,
// tolerations, priority class.
func freeToSchedule(spec *corev1.PodSpec) {
	// A gate is opened, a gang completed, an eviction answered and a readiness
	// gate set by a controller that looks after the workload's own pods.
	spec.SchedulingGates = nil
	spec.SchedulingGroup = nil
	spec.EvictionResponders = nil
	spec.ReadinessGates = nil
	softenSpread(spec)
}

// softenSpread makes hard spread constraints preferences: they spread the
// workload's pods among themselves, and a lone pod is only kept from running by
// them. The API server takes each topology key once with each strictness.
func softenSpread(spec *corev1.PodSpec) {
	soft := map[string]bool{}
	for _, constraint := range spec.TopologySpreadConstraints {
		if constraint.WhenUnsatisfiable == corev1.ScheduleAnyway {
			soft[constraint.TopologyKey] = true
		}
	}
	var constraints []corev1.TopologySpreadConstraint
	for _, constraint := range spec.TopologySpreadConstraints {
		if constraint.WhenUnsatisfiable != corev1.ScheduleAnyway {
			if soft[constraint.TopologyKey] {
				continue
			}
			constraint.WhenUnsatisfiable = corev1.ScheduleAnyway
			constraint.MinDomains = nil
		}
		constraints = append(constraints, constraint)
	}
	spec.TopologySpreadConstraints = constraints
}

// tolerateDevices lets a pod that is pinned to certain nodes onto nodes that
// are kept for a device it no longer asks for: admission adds the toleration
// only for those that ask.
func tolerateDevices(spec *corev1.PodSpec, devices []corev1.ResourceName) {
	pinned := len(spec.NodeSelector) > 0 || spec.Affinity != nil && spec.Affinity.NodeAffinity != nil
	if !pinned {
		return
	}
	for _, device := range devices {
		toleration := corev1.Toleration{
			Key:      string(device),
			Operator: corev1.TolerationOpExists,
			Effect:   corev1.TaintEffectNoSchedule,
		}
		if !slices.Contains(spec.Tolerations, toleration) {
			spec.Tolerations = append(spec.Tolerations, toleration)
		}
	}
}

// podAffinityTerms goes over every affinity and anti-affinity term between pods.
func podAffinityTerms(spec *corev1.PodSpec) iter.Seq[*corev1.PodAffinityTerm] {
	return func(yield func(*corev1.PodAffinityTerm) bool) {
		if spec.Affinity == nil {
			return
		}
		var required []corev1.PodAffinityTerm
		var preferred []corev1.WeightedPodAffinityTerm
		each := func() bool {
			for i := range required {
				if !yield(&required[i]) {
					return false
				}
			}
			for i := range preferred {
				if !yield(&preferred[i].PodAffinityTerm) {
					return false
				}
			}
			return true
		}
		if affinity := spec.Affinity.PodAffinity; affinity != nil {
			required = affinity.RequiredDuringSchedulingIgnoredDuringExecution
			preferred = affinity.PreferredDuringSchedulingIgnoredDuringExecution
			if !each() {
				return
			}
		}
		if affinity := spec.Affinity.PodAntiAffinity; affinity != nil {
			required = affinity.RequiredDuringSchedulingIgnoredDuringExecution
			preferred = affinity.PreferredDuringSchedulingIgnoredDuringExecution
			each()
		}
	}
}
