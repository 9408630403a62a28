package clone

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// DefaultRequests are what the agent asks for: little enough to find room on a
// full node. Its memory at 1,000 connections is what it is built to stay under.
func DefaultRequests() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("10m"),
		corev1.ResourceMemory: resource.MustParse("32Mi"),
	}
}

// DefaultLimits leave the agent twice the memory that it asks for, for bursts
// and for files that are read; the CPU has no limit, since one would add its
// throttling to every round trip.
func DefaultLimits() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
}

var (
	// mostCPU is the agent's limit where there has to be one: what one busy
	// stream can use.
	mostCPU = resource.MustParse("1")
	// storageRequest is for the agent's log: it writes nothing else. Without a
	// request the API server would take the limit for it.
	storageRequest = resource.MustParse("16Mi")
)

// agentResources gives the agent's own requests and limits in the place of the
// application's. A limit that the application had is there for the agent too:
// the namespace's quota or limit range may demand it, and the limit on storage
// also bounds what the pod's volumes hold. A resource that unlimited names has
// no limit, because something in the pod reads that it has none.
func agentResources(original corev1.ResourceRequirements, unlimited map[corev1.ResourceName]bool, container bounds, opts Options) corev1.ResourceRequirements {
	own := opts.Agent.Resources.Over(corev1.ResourceRequirements{Requests: DefaultRequests(), Limits: DefaultLimits()})
	if limit, ok := original.Limits[corev1.ResourceCPU]; ok {
		fill(own.Limits, corev1.ResourceList{corev1.ResourceCPU: atMost(limit, mostCPU)})
	}
	if limit, ok := original.Limits[corev1.ResourceMemory]; ok {
		fill(own.Limits, corev1.ResourceList{corev1.ResourceMemory: limit})
	}
	if limit, ok := original.Limits[corev1.ResourceEphemeralStorage]; ok {
		fill(own.Limits, corev1.ResourceList{corev1.ResourceEphemeralStorage: limit})
	}
	if request, ok := original.Requests[corev1.ResourceEphemeralStorage]; ok {
		fill(own.Requests, corev1.ResourceList{corev1.ResourceEphemeralStorage: atMost(request, storageRequest)})
	}
	for name := range unlimited {
		delete(own.Limits, name)
	}
	for _, name := range resourceNames(own) {
		container.clamp(own, name)
		// With no request at all the limit would become the request.
		if limit, ok := own.Limits[name]; ok {
			if request, has := own.Requests[name]; has && request.Cmp(limit) > 0 {
				own.Limits[name] = request.DeepCopy()
			}
		}
	}
	return own
}

func resourceNames(of corev1.ResourceRequirements) []corev1.ResourceName {
	names := slices.Collect(maps.Keys(of.Requests))
	names = slices.AppendSeq(names, maps.Keys(of.Limits))
	slices.Sort(names)
	return slices.Compact(names)
}

// devices are the extended resources that a container asks for, sorted.
func devices(of corev1.ResourceRequirements) []corev1.ResourceName {
	return slices.DeleteFunc(resourceNames(of), func(name corev1.ResourceName) bool {
		return name == corev1.ResourceCPU || name == corev1.ResourceMemory ||
			name == corev1.ResourceEphemeralStorage || isHugePage(name)
	})
}
