package clone

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// stayAnnotations keep autoscalers from moving the stand-in: a session would
// be cut for the room of 10 thousandths of a CPU.
var stayAnnotations = map[string]string{
	"cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
	"karpenter.sh/do-not-disrupt":                    "true",
}

// annotations gives the template's annotations, for meshes and injectors,
// without those by which another controller would act on the stand-in as if it
// were the target, and without those of containers that are left out: the API
// server refuses some of them.
func annotations(of map[string]string, excluded map[string]bool, opts Options) map[string]string {
	kept := map[string]string{}
	for key, value := range of {
		if !isActedUpon(key) && !excluded[containerOfAnnotation(key)] {
			kept[key] = value
		}
	}
	for key, value := range stayAnnotations {
		kept[key] = value
	}
	for key, value := range opts.Annotations {
		kept[key] = value
	}
	return kept
}

// isActedUpon knows the annotations that claim a pod for a tool (which may
// delete what it does not find in its manifests), offer it for eviction, or
// are our own.
func isActedUpon(key string) bool {
	for _, prefix := range []string{"meta.helm.sh/", "argocd.argoproj.io/", ownAnnotationPrefix} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		corev1.LastAppliedConfigAnnotation,
		"descheduler.alpha.kubernetes.io/evict",
	}, key)
}

const ownAnnotationPrefix = "understudy.dev/"

// containerOfAnnotation gives the container that an annotation is for; empty
// is none.
func containerOfAnnotation(key string) string {
	for _, prefix := range []string{
		corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix,
		corev1.SeccompContainerAnnotationKeyPrefix,
	} {
		if name, found := strings.CutPrefix(key, prefix); found {
			return name
		}
	}
	return ""
}
