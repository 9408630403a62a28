package plan

import (
	"strings"
	"testing"

	"understudy.dev/understudy/operator/hold"
)

// Who deploys the target from Git, and whether the number is theirs.
func TestGitOps(t *testing.T) {
	owns := func(manager, fields string) string {
		return ", managedFields: [{manager: " + manager + ", operation: Apply, apiVersion: apps/v1, fieldsType: FieldsV1, fieldsV1: " + fields + "}]"
	}
	const number, other = `{"f:spec": {"f:replicas": {}}}`, `{"f:spec": {"f:template": {}}}`
	for name, c := range map[string]struct {
		meta string
		want []string
	}{
		"nobody":                 {owns("kubectl", number), nil},
		"argo":                   {`, annotations: {argocd.argoproj.io/tracking-id: "shop:apps/Deployment:shop/worker"}` + owns("argocd-controller", number), []string{"warns GitOps: Argo CD (application shop) deploys deployment/worker and writes its number"}},
		"argo, ignoring":         {`, annotations: {argocd.argoproj.io/tracking-id: "shop:apps/Deployment:shop/worker"}` + owns("argocd-controller", other), []string{"notes GitOps: does not write its number"}},
		"argo by its name alone": {owns("argocd-controller", number), []string{"warns GitOps: Argo CD deploys"}},
		"flux":                   {`, labels: {kustomize.toolkit.fluxcd.io/name: shop, kustomize.toolkit.fluxcd.io/namespace: flux-system}` + owns("kustomize-controller", number), []string{"warns GitOps: Flux (Kustomization flux-system/shop)"}},
		"flux, by helm":          {`, labels: {helm.toolkit.fluxcd.io/name: shop, helm.toolkit.fluxcd.io/namespace: flux-system}` + owns("helm-controller", number), []string{"warns GitOps: Flux (HelmRelease flux-system/shop)"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, strings.Replace(worker, ", generation: 1}", ", generation: 1"+c.meta+"}", 1), nil)
			expect(t, gitOps(w), c.want...)
			// Whoever the operator knows for its rival is the one who is named.
			name, manager := deployer(w.Target.Object)
			if name != "" && strings.HasSuffix(manager, "-controller") {
				if its := hold.RivalOf(w.Target.Object, manager).Name; its != name {
					t.Errorf("the plan says %s, the operator %s", name, its)
				}
			}
		})
	}
}
