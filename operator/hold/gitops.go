package hold

import (
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Rival is who writes a workload's number again and again, and what makes it
// leave the number alone.
type Rival struct {
	// Name for people: "Argo CD (application shop)".
	Name string
	// Advice is what to set where; empty where nothing is known.
	Advice string
}

// RivalOf recognises who wrote the number of an object, by the field manager's
// name and by what GitOps tools write on the objects that are theirs.
func RivalOf(object client.Object, manager string) Rival {
	labels, annotations := object.GetLabels(), object.GetAnnotations()
	switch {
	case isArgo(manager, annotations):
		name := "Argo CD"
		if application, _, ok := strings.Cut(annotations["argocd.argoproj.io/tracking-id"], ":"); ok {
			name += " (application " + application + ")"
		} else if application := labels["app.kubernetes.io/instance"]; application != "" {
			name += " (application " + application + ")"
		}
		return Rival{Name: name, Advice: "leave the number out of Git, or let Understudy switch automated sync off for the time (gitops.argoCD.namespaces in its chart's values), or have the application ignore it: spec.ignoreDifferences with jsonPointers [/spec/replicas], and RespectIgnoreDifferences=true in its syncOptions"}
	case labels["kustomize.toolkit.fluxcd.io/name"] != "" && !isHelm(manager):
		of := labels["kustomize.toolkit.fluxcd.io/namespace"] + "/" + labels["kustomize.toolkit.fluxcd.io/name"]
		return Rival{Name: "Flux (Kustomization " + of + ")", Advice: "leave the number out of Git, or let Understudy mark what it holds (gitops.flux in its chart's values), or annotate the workload in Git with kustomize.toolkit.fluxcd.io/ssa: IfNotPresent"}
	case labels["helm.toolkit.fluxcd.io/name"] != "":
		of := labels["helm.toolkit.fluxcd.io/namespace"] + "/" + labels["helm.toolkit.fluxcd.io/name"]
		return Rival{Name: "Flux (HelmRelease " + of + ")", Advice: "let Understudy mark what it holds (gitops.flux in its chart's values), or have the HelmRelease ignore the number: spec.driftDetection.ignore with paths [/spec/replicas]; an upgrade writes it all the same"}
	case manager == "kustomize-controller":
		return Rival{Name: "Flux", Advice: "leave the number out of Git, or annotate the workload with kustomize.toolkit.fluxcd.io/ssa: IfNotPresent"}
	case manager == "kube-controller-manager":
		return Rival{Name: "a HorizontalPodAutoscaler"}
	case manager == "keda":
		return Rival{Name: "KEDA", Advice: "give the operator the right to pause it: the chart's value workloads.keda"}
	case manager == "":
		return Rival{Name: "an unknown writer"}
	}
	return Rival{Name: manager}
}

func isArgo(manager string, annotations map[string]string) bool {
	return strings.HasPrefix(manager, "argocd") || (annotations["argocd.argoproj.io/tracking-id"] != "" && !strings.HasPrefix(manager, "kubectl"))
}

func isHelm(manager string) bool { return manager == "helm" || manager == "helm-controller" }

// String says who, and what to do about it.
func (r Rival) String() string {
	if r.Advice == "" {
		return r.Name
	}
	return fmt.Sprintf("%s; to keep it from that: %s", r.Name, r.Advice)
}
