package clone

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// ConflictKind is why two pods of one target may not run side by side.
type ConflictKind string

const (
	// ConflictClaim: a volume that only one node, or one pod, can mount.
	ConflictClaim ConflictKind = "Claim"
	// ConflictHostPort: a port of the node that only one pod can have.
	ConflictHostPort ConflictKind = "HostPort"
	// ConflictAntiAffinity: the pods refuse one another's company.
	ConflictAntiAffinity ConflictKind = "AntiAffinity"
)

// Conflict is one reason to hold the target before the stand-in is made.
type Conflict struct {
	Kind ConflictKind
	// Certain says that the stand-in cannot run beside a pod of the target on
	// any node; otherwise some node may take it.
	Certain bool
	// Message says what is in the way, for the owner.
	Message string
}

// conflicts finds what keeps the finished stand-in from running beside the
// target's own pods.
func conflicts(pod *corev1.Pod, claims []corev1.PersistentVolumeClaim) []Conflict {
	var found []Conflict
	for _, volume := range pod.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil {
			found = append(found, claimConflict(volume.PersistentVolumeClaim.ClaimName, claims)...)
		}
	}
	for _, container := range running(&pod.Spec) {
		for _, port := range container.Ports {
			if port.HostPort != 0 {
				found = append(found, Conflict{Kind: ConflictHostPort, Message: fmt.Sprintf(
					"container %q takes port %d of its node, which one pod at a time can have", container.Name, port.HostPort)})
			}
		}
	}
	if affinity := pod.Spec.Affinity; affinity != nil && affinity.PodAntiAffinity != nil {
		for _, term := range affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			if refusesItself(pod, term) {
				found = append(found, Conflict{Kind: ConflictAntiAffinity, Message: fmt.Sprintf(
					"the target's pods may not share a %s", term.TopologyKey)})
			}
		}
	}
	return found
}

func claimConflict(name string, claims []corev1.PersistentVolumeClaim) []Conflict {
	var modes []corev1.PersistentVolumeAccessMode
	for _, claim := range claims {
		if claim.Name == name {
			modes = claim.Spec.AccessModes
		}
	}
	if slices.Contains(modes, corev1.ReadWriteMany) || slices.Contains(modes, corev1.ReadOnlyMany) {
		return nil
	}
	if slices.Contains(modes, corev1.ReadWriteOncePod) {
		return []Conflict{{Kind: ConflictClaim, Certain: true, Message: fmt.Sprintf(
			"volume claim %q can be mounted by one pod at a time", name)}}
	}
	return []Conflict{{Kind: ConflictClaim, Message: fmt.Sprintf(
		"volume claim %q can be mounted on one node at a time", name)}}
}

func refusesItself(pod *corev1.Pod, term corev1.PodAffinityTerm) bool {
	here := len(term.Namespaces) == 0 && term.NamespaceSelector == nil || slices.Contains(term.Namespaces, pod.Namespace)
	if !here && term.NamespaceSelector == nil || term.LabelSelector == nil {
		return false
	}
	// A namespace selector is taken to select this namespace: its labels are
	// not known here.
	selector, err := metav1.LabelSelectorAsSelector(term.LabelSelector)
	return err == nil && selector.Matches(labels.Set(pod.Labels))
}

// dropHostPorts takes the node's ports away from every container. The network
// plugin would bring what comes to them to the stand-in whether it is ready or
// not, and it could not share a node with the target. It says which were
// dropped.
func dropHostPorts(spec *corev1.PodSpec) (notes []string) {
	for container := range everyContainer(spec) {
		for i := range container.Ports {
			port := &container.Ports[i]
			if port.HostPort == 0 {
				continue
			}
			notes = append(notes, fmt.Sprintf("port %d of the node stays with the target's container %q", port.HostPort, container.Name))
			port.HostPort = 0
			port.HostIP = ""
		}
	}
	return notes
}
