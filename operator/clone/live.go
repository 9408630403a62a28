package clone

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// injectedTokenVolume starts the name of the volume that the service account
// admission adds; it adds another to the stand-in.
const injectedTokenVolume = "kube-api-access-"

// defaultTolerationSeconds is what the DefaultTolerationSeconds admission sets
// unless the API server is told otherwise.
const defaultTolerationSeconds = 300

// stripLive takes out of a running pod what admission, the scheduler and the
// kubelet put in: they do it again for the stand-in, and some of it would make
// the API server refuse it.
func stripLive(template *corev1.PodTemplateSpec) {
	spec := &template.Spec
	spec.NodeName = ""
	spec.EphemeralContainers = nil
	// Computed from the classes' names; admission refuses other values.
	spec.Priority = nil
	spec.PreemptionPolicy = nil
	spec.Overhead = nil
	spec.DeprecatedServiceAccount = ""
	spec.Tolerations = slices.DeleteFunc(spec.Tolerations, isDefaultToleration)
	stripToken(spec)
	stripMergedKeys(spec)
	for _, key := range boundLabels {
		delete(template.Labels, key)
	}
	for key := range template.Annotations {
		if isNodeAnnotation(key) {
			delete(template.Annotations, key)
		}
	}
}

// boundLabels are copied to a pod from its node when it is bound.
var boundLabels = []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion}

// isNodeAnnotation knows what admission, network plugins and the kubelet write
// on a pod: it speaks of that one pod. The config annotations of a static pod
// would make the kubelet take the stand-in for a mirror pod and delete it.
func isNodeAnnotation(key string) bool {
	for _, prefix := range []string{"cni.projectcalico.org/", "k8s.ovn.org/", "kubernetes.io/config."} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status",
		"kubernetes.io/limit-ranger", "openshift.io/scc",
	}, key)
}

func isDefaultToleration(toleration corev1.Toleration) bool {
	return (toleration.Key == corev1.TaintNodeNotReady || toleration.Key == corev1.TaintNodeUnreachable) &&
		toleration.Operator == corev1.TolerationOpExists && toleration.Effect == corev1.TaintEffectNoExecute &&
		toleration.TolerationSeconds != nil && *toleration.TolerationSeconds == defaultTolerationSeconds
}

func stripToken(spec *corev1.PodSpec) {
	injected := map[string]bool{}
	spec.Volumes = slices.DeleteFunc(spec.Volumes, func(volume corev1.Volume) bool {
		injected[volume.Name] = volume.Projected != nil && strings.HasPrefix(volume.Name, injectedTokenVolume)
		return injected[volume.Name]
	})
	for container := range everyContainer(spec) {
		container.VolumeMounts = slices.DeleteFunc(container.VolumeMounts, func(mount corev1.VolumeMount) bool {
			return injected[mount.Name]
		})
	}
}

// stripMergedKeys takes out the requirements that the API server made of
// matchLabelKeys and mismatchLabelKeys: it makes them again, and refuses a
// selector that has them already.
func stripMergedKeys(spec *corev1.PodSpec) {
	for i := range spec.TopologySpreadConstraints {
		constraint := &spec.TopologySpreadConstraints[i]
		stripKeys(constraint.LabelSelector, constraint.MatchLabelKeys, metav1.LabelSelectorOpIn)
	}
	for term := range podAffinityTerms(spec) {
		stripKeys(term.LabelSelector, term.MatchLabelKeys, metav1.LabelSelectorOpIn)
		stripKeys(term.LabelSelector, term.MismatchLabelKeys, metav1.LabelSelectorOpNotIn)
	}
}

func stripKeys(selector *metav1.LabelSelector, keys []string, operator metav1.LabelSelectorOperator) {
	if selector == nil {
		return
	}
	selector.MatchExpressions = slices.DeleteFunc(selector.MatchExpressions, func(e metav1.LabelSelectorRequirement) bool {
		return e.Operator == operator && len(e.Values) == 1 && slices.Contains(keys, e.Key)
	})
}
