package plan

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ownedByKEDA says whether KEDA made an autoscaler, for a ScaledObject.
func ownedByKEDA(owners []metav1.OwnerReference) bool {
	for _, owner := range owners {
		if owner.Kind == "ScaledObject" && strings.HasPrefix(owner.APIVersion, "keda.sh/") {
			return true
		}
	}
	return false
}

// gitOps is who puts the target back to what is in Git.
func gitOps(w *World) []Finding {
	if !w.scalesDown() || w.Target.Object == nil {
		return nil
	}
	name, manager := deployer(w.Target.Object)
	if name == "" {
		return nil
	}
	if !writesNumber(w.Target.Object.GetManagedFields(), manager) {
		return []Finding{{GitOps, Notes, fmt.Sprintf("%s deploys %s, and does not write its number of replicas", name, w.Target), ""}}
	}
	return []Finding{{GitOps, Warns,
		fmt.Sprintf("%s deploys %s and writes its number of replicas: when it does during the session no pod starts, the target is brought to zero again, and what was written is what comes back", name, w.Target),
		"leave the number out of Git, have the tool ignore it, or let the operator keep it from that meanwhile (the chart's gitops values): docs/kinds.md"}}
}

// deployer recognises Argo CD and Flux by what they write on the objects that
// are theirs, and how the field manager's name of the tool begins.
func deployer(object metav1.Object) (name, manager string) {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	of := func(prefix string) string { return labels[prefix+"/namespace"] + "/" + labels[prefix+"/name"] }
	application, _, _ := strings.Cut(annotations["argocd.argoproj.io/tracking-id"], ":")
	switch {
	case application != "":
		return "Argo CD (application " + application + ")", "argocd"
	case labels["kustomize.toolkit.fluxcd.io/name"] != "":
		return "Flux (Kustomization " + of("kustomize.toolkit.fluxcd.io") + ")", "kustomize-controller"
	case labels["helm.toolkit.fluxcd.io/name"] != "":
		return "Flux (HelmRelease " + of("helm.toolkit.fluxcd.io") + ")", "helm"
	}
	for _, entry := range object.GetManagedFields() {
		switch {
		case strings.HasPrefix(entry.Manager, "argocd"):
			return "Argo CD", "argocd"
		case entry.Manager == "kustomize-controller", entry.Manager == "helm-controller":
			return "Flux", entry.Manager
		}
	}
	return "", ""
}

// writesNumber says whether a field manager has the number of replicas.
func writesNumber(fields []metav1.ManagedFieldsEntry, manager string) bool {
	for _, entry := range fields {
		var content struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if !strings.HasPrefix(entry.Manager, manager) || entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &content) != nil {
			continue
		}
		for _, field := range []string{"f:replicas", "f:suspend"} {
			if _, is := content.Spec[field]; is {
				return true
			}
		}
	}
	return false
}
