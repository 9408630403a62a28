package clone

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// SelectorsOf collects the pod selectors of network policies, of their peers
// too, and of disruption budgets.
func SelectorsOf(policies []networkingv1.NetworkPolicy, budgets []policyv1.PodDisruptionBudget) []metav1.LabelSelector {
	var selectors []metav1.LabelSelector
	peers := func(peers []networkingv1.NetworkPolicyPeer) {
		for _, peer := range peers {
			if peer.PodSelector != nil {
				selectors = append(selectors, *peer.PodSelector)
			}
		}
	}
	for _, policy := range policies {
		selectors = append(selectors, policy.Spec.PodSelector)
		for _, rule := range policy.Spec.Ingress {
			peers(rule.From)
		}
		for _, rule := range policy.Spec.Egress {
			peers(rule.To)
		}
	}
	for _, budget := range budgets {
		if budget.Spec.Selector != nil {
			selectors = append(selectors, *budget.Spec.Selector)
		}
	}
	return selectors
}

// selectedKeys are the label keys that anything selects on.
func selectedKeys(services []corev1.Service, selectors []metav1.LabelSelector) map[string]bool {
	keys := map[string]bool{}
	for _, service := range services {
		for key := range service.Spec.Selector {
			keys[key] = true
		}
	}
	for _, selector := range selectors {
		for key := range selector.MatchLabels {
			keys[key] = true
		}
		for _, expression := range selector.MatchExpressions {
			keys[expression.Key] = true
		}
	}
	return keys
}

// controllerLabels are set by a controller on the pods that it makes, and name
// that controller's revision or pod.
var controllerLabels = []string{
	"pod-template-hash",
	"controller-revision-hash",
	"pod-template-generation",
	"statefulset.kubernetes.io/pod-name",
	"apps.kubernetes.io/pod-index",
	"controller-uid",
	"job-name",
	"batch.kubernetes.io/controller-uid",
	"batch.kubernetes.io/job-name",
	"batch.kubernetes.io/job-completion-index",
	"rollouts-pod-template-hash",
}

// podLabels gives the template's labels, which are the pod's identity to
// Services, policies and meshes, and the session's own. A label of a
// controller is left out, unless something selects on it: what keeps
// controllers from adopting the stand-in is its owner reference.
func podLabels(of map[string]string, opts Options) map[string]string {
	selected := selectedKeys(opts.Services, opts.Selectors)
	kept := map[string]string{}
	for key, value := range of {
		if selected[key] || !slices.Contains(controllerLabels, key) {
			kept[key] = value
		}
	}
	for key, value := range opts.Labels {
		kept[key] = value
	}
	kept[v1alpha1.SessionLabel] = opts.SessionName
	return kept
}
