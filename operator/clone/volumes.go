package clone

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// usedVolumes are the names of the volumes that some container mounts.
func usedVolumes(spec *corev1.PodSpec) map[string]bool {
	used := map[string]bool{}
	for container := range everyContainer(spec) {
		for _, mount := range container.VolumeMounts {
			used[mount.Name] = true
		}
		for _, device := range container.VolumeDevices {
			used[device.Name] = true
		}
	}
	return used
}

// dropUnusedVolumes takes out the volumes that only excluded containers
// mounted: the kubelet would attach them all the same.
func dropUnusedVolumes(spec *corev1.PodSpec, usedBefore map[string]bool) {
	used := usedVolumes(spec)
	spec.Volumes = slices.DeleteFunc(spec.Volumes, func(volume corev1.Volume) bool {
		return usedBefore[volume.Name] && !used[volume.Name]
	})
}

// dropHugePageVolumes makes an emptyDir of huge pages an ordinary one where no
// container asks for huge pages any more: the kubelet could not mount it.
func dropHugePageVolumes(spec *corev1.PodSpec) {
	for container := range everyContainer(spec) {
		for name := range container.Resources.Requests {
			if isHugePage(name) {
				return
			}
		}
		for name := range container.Resources.Limits {
			if isHugePage(name) {
				return
			}
		}
	}
	for i := range spec.Volumes {
		if dir := spec.Volumes[i].EmptyDir; dir != nil && strings.HasPrefix(string(dir.Medium), string(corev1.StorageMediumHugePages)) {
			dir.Medium = corev1.StorageMediumDefault
		}
	}
}

// dropUnusedClaims takes out the device claims that no container names.
func dropUnusedClaims(spec *corev1.PodSpec) {
	used := map[string]bool{}
	for container := range everyContainer(spec) {
		for _, claim := range container.Resources.Claims {
			used[claim.Name] = true
		}
	}
	spec.ResourceClaims = slices.DeleteFunc(spec.ResourceClaims, func(claim corev1.PodResourceClaim) bool {
		return !used[claim.Name]
	})
}

func isHugePage(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}
