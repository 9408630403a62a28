package clone

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPodLabels(t *testing.T) {
	const hash = "pod-template-hash"
	template := map[string]string{"app": "web", hash: "7d9c", "job-name": "x"}
	kept := map[string]string{"app": "web", hash: "7d9c"}
	dropped := map[string]string{"app": "web"}
	onHash := metav1.LabelSelector{MatchLabels: map[string]string{hash: "other"}}
	tests := []struct {
		name     string
		services []corev1.Service
		policies []networkingv1.NetworkPolicy
		budgets  []policyv1.PodDisruptionBudget
		want     map[string]string
	}{{
		name: "nothing selects on a controller's label", want: dropped,
	}, {
		name:     "a service does, with another value",
		services: []corev1.Service{{Spec: corev1.ServiceSpec{Selector: map[string]string{hash: "canary"}}}},
		want:     kept,
	}, {
		name:     "a policy's subjects",
		policies: []networkingv1.NetworkPolicy{{Spec: networkingv1.NetworkPolicySpec{PodSelector: onHash}}},
		want:     kept,
	}, {
		name: "a policy's ingress peer",
		policies: []networkingv1.NetworkPolicy{{Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{
			{From: []networkingv1.NetworkPolicyPeer{{}, {PodSelector: &onHash}}},
		}}}},
		want: kept,
	}, {
		name: "a policy's egress peer",
		policies: []networkingv1.NetworkPolicy{{Spec: networkingv1.NetworkPolicySpec{Egress: []networkingv1.NetworkPolicyEgressRule{
			{To: []networkingv1.NetworkPolicyPeer{{PodSelector: &onHash}}},
		}}}},
		want: kept,
	}, {
		name: "a budget, by expression",
		budgets: []policyv1.PodDisruptionBudget{{}, {Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: hash, Operator: metav1.LabelSelectorOpExists}},
		}}}},
		want: kept,
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := someOptions()
			opts.Services, opts.Selectors = test.services, SelectorsOf(test.policies, test.budgets)
			got := podLabels(template, opts)
			want := map[string]string{"understudy.dev/session": opts.SessionName}
			for key, value := range test.want {
				want[key] = value
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLabelsOfTheOptionsWin(t *testing.T) {
	opts := someOptions()
	opts.Labels = map[string]string{"app": "mine", "pod-template-hash": "7d9c", "understudy.dev/session": "forged"}
	want := map[string]string{"app": "mine", "pod-template-hash": "7d9c", "understudy.dev/session": opts.SessionName}
	if diff := cmp.Diff(want, podLabels(map[string]string{"app": "web"}, opts)); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}
