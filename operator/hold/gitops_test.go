package hold

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRivalOf(t *testing.T) {
	tracked := map[string]string{"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/worker"}
	flux := map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
	release := map[string]string{"helm.toolkit.fluxcd.io/name": "worker", "helm.toolkit.fluxcd.io/namespace": "shop"}
	for name, c := range map[string]struct {
		manager             string
		labels, annotations map[string]string
		want, advice        string
	}{
		"Argo CD by its tracking":        {"argocd-controller", nil, tracked, "Argo CD (application shop)", "ignoreDifferences"},
		"Argo CD by the instance":        {"argocd-application-controller", map[string]string{"app.kubernetes.io/instance": "shop"}, nil, "Argo CD (application shop)", "ignoreDifferences"},
		"a person, of an Argo workload":  {"kubectl", nil, tracked, "kubectl", ""},
		"Flux":                           {"kustomize-controller", flux, nil, "Flux (Kustomization flux-system/apps)", "kustomize.toolkit.fluxcd.io/ssa"},
		"Flux without its labels":        {"kustomize-controller", nil, nil, "Flux", "IfNotPresent"},
		"a release of Flux":              {"helm-controller", release, nil, "Flux (HelmRelease shop/worker)", "driftDetection"},
		"the autoscaler":                 {"kube-controller-manager", nil, nil, "a HorizontalPodAutoscaler", ""},
		"KEDA that may not be paused":    {"keda", nil, nil, "KEDA", "workloads.keda"},
		"somebody":                       {"team", nil, nil, "team", ""},
		"nobody that left a trace of it": {"", nil, nil, "an unknown writer", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := RivalOf(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Labels: c.labels, Annotations: c.annotations}}, c.manager)
			if got.Name != c.want || !strings.Contains(got.Advice, c.advice) || (c.advice == "") != (got.Advice == "") {
				t.Errorf("got %+v, want %s and %q", got, c.want, c.advice)
			}
		})
	}
}
