package plan

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"understudy.dev/understudy/operator/clone"
)

// beside are the objects that the operator makes in the namespace with a
// stand-in, by the names that quotas count them by.
var beside = []corev1.ResourceName{
	corev1.ResourceSecrets, "count/secrets", "count/roles.rbac.authorization.k8s.io",
	"count/rolebindings.rbac.authorization.k8s.io", "count/leases.coordination.k8s.io", "count/sessions.understudy.dev",
}

// quotas looks whether the stand-in has room in what the namespace may use. The
// target still runs when the stand-in is made.
func quotas(w *World) []Finding {
	if w.standIn == nil {
		return nil
	}
	needs := needed(w)
	var found []Finding
	for i := range w.Quotas.Items {
		quota := &w.Quotas.Items[i]
		if !w.tried() && !covers(quota, w.standIn, needs) {
			continue
		}
		short := unsaid(w, quota)
		for name, hard := range quota.Status.Hard {
			need, counted := needs[name]
			if !counted {
				continue
			}
			used := quota.Status.Used[name]
			total := used.DeepCopy()
			total.Add(need)
			if total.Cmp(hard) > 0 {
				short = append(short, fmt.Sprintf("%s: %s of %s are used, and the stand-in needs %s", name, used.String(), hard.String(), need.String()))
			}
		}
		if len(short) > 0 {
			slices.Sort(short)
			found = append(found, Finding{QuotaExceeded, Blocks,
				fmt.Sprintf("quota %s has no room for the stand-in beside the target (%s)", quota.Name, strings.Join(short, "; ")),
				"have somebody raise it, or free something: nothing is held before the stand-in has been taken"})
		}
	}
	return found
}

// unsaid are the resources of which a quota wants every container to say how
// much it needs, and one does not.
func unsaid(w *World, quota *corev1.ResourceQuota) []string {
	var short []string
	if w.tried() {
		return nil
	}
	for name := range quota.Status.Hard {
		plain, limit := strings.CutPrefix(string(name), "limits.")
		plain = strings.TrimPrefix(plain, "requests.")
		if plain != string(corev1.ResourceCPU) && plain != string(corev1.ResourceMemory) {
			continue
		}
		for _, container := range clone.Unsaid(&w.standIn.Spec, w.LimitRanges.Items, limit, corev1.ResourceName(plain)) {
			short = append(short, fmt.Sprintf("%s: container %s does not say how much it needs", name, container))
		}
	}
	return short
}

// needed is all of the stand-in that a quota may count.
func needed(w *World) corev1.ResourceList {
	one := *resource.NewQuantity(1, resource.DecimalSI)
	needs := corev1.ResourceList{}
	for _, name := range beside {
		needs[name] = one
	}
	if w.tried() {
		return needs // of the pod the API server has spoken
	}
	needs[corev1.ResourcePods], needs["count/pods"] = one, one
	totals := clone.Totals(&w.standIn.Spec, w.LimitRanges.Items)
	for name, quantity := range totals.Requests {
		needs["requests."+name] = quantity
		if slices.Contains([]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}, name) {
			needs[name] = quantity
		}
	}
	for name, quantity := range totals.Limits {
		needs["limits."+name] = quantity
	}
	return needs
}

// covers says whether a quota counts the pod, by its scopes.
func covers(quota *corev1.ResourceQuota, pod *corev1.Pod, needs corev1.ResourceList) bool {
	scopes := slices.Clone(quota.Spec.Scopes)
	if quota.Spec.ScopeSelector != nil {
		for _, expression := range quota.Spec.ScopeSelector.MatchExpressions {
			if expression.ScopeName == corev1.ResourceQuotaScopePriorityClass {
				if !matchesClass(expression, pod.Spec.PriorityClassName) {
					return false
				}
				continue
			}
			scopes = append(scopes, expression.ScopeName)
		}
	}
	_, cpu := needs["requests.cpu"]
	_, memory := needs["requests.memory"]
	for _, scope := range scopes {
		switch scope {
		case corev1.ResourceQuotaScopeTerminating:
			return false // a stand-in has no deadline
		case corev1.ResourceQuotaScopeBestEffort:
			return !cpu && !memory
		case corev1.ResourceQuotaScopeCrossNamespacePodAffinity, corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeVolumeAttributesClass:
			return false // what they count cannot be told from here
		}
	}
	return true
}

func matchesClass(expression corev1.ScopedResourceSelectorRequirement, class string) bool {
	switch expression.Operator {
	case corev1.ScopeSelectorOpIn:
		return slices.Contains(expression.Values, class)
	case corev1.ScopeSelectorOpNotIn:
		return !slices.Contains(expression.Values, class)
	case corev1.ScopeSelectorOpExists:
		return class != ""
	case corev1.ScopeSelectorOpDoesNotExist:
		return class == ""
	}
	return false
}
