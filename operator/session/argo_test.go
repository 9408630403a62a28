package session

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// applicationDefinition is Argo CD's, with what matters here of it. switches are
// what spec.syncPolicy.automated has.
const applicationDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applications.argoproj.io, annotations: {api-approved.kubernetes.io: unapproved}}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {plural: applications, singular: application, kind: Application}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {
      spec: {type: object, properties: {project: {type: string}, syncPolicy: {type: object, properties: {
        automated: {type: object, properties: {SWITCHES}},
        syncOptions: {type: array, items: {type: string}}}}}},
      status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`

// argo is a world with Argo CD, whose controller the test plays.
type argo struct {
	*world
	// heals how it applies what is in Git: on the server's side or the client's.
	serverSide bool
}

func newArgo(w *world, switches string) *argo {
	w.t.Helper()
	definition := &unstructured.Unstructured{}
	w.must(yaml.Unmarshal([]byte(strings.Replace(applicationDefinition, "SWITCHES", switches, 1)), &definition.Object))
	w.ensure(definition)
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(hold.ApplicationKind.GroupVersion().WithKind("ApplicationList"))
	w.until("the API server serves applications", func() bool { return w.List(w.ctx, list, client.InNamespace(w.namespace)) == nil })
	return &argo{world: w}
}

const allSwitches = "prune: {type: boolean}, selfHeal: {type: boolean}, enabled: {type: boolean}"

// application makes one that deploys the workers, as its owner applies it.
func (a *argo) application(automated string, deployments ...string) {
	a.t.Helper()
	object := a.yaml(`{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: shop, annotations: {team: shop}}, spec: {project: default, syncPolicy: {automated: ` + automated + `}}}`)
	object.SetNamespace(a.namespace)
	a.must(a.apply(object, "owner"))
	var resources []any
	for _, name := range deployments {
		resources = append(resources, map[string]any{"group": "apps", "version": "v1", "kind": "Deployment", "namespace": a.namespace, "name": name})
	}
	object.Object["status"] = map[string]any{"resources": resources}
	a.must(a.Update(a.ctx, object, client.FieldOwner("argocd-application-controller")))
}

func (a *argo) yaml(text string) *unstructured.Unstructured {
	a.t.Helper()
	object := &unstructured.Unstructured{}
	a.must(yaml.Unmarshal([]byte(text), &object.Object))
	return object
}

func (a *argo) read() *unstructured.Unstructured {
	a.t.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(hold.ApplicationKind)
	a.must(a.Get(a.ctx, client.ObjectKey{Namespace: a.namespace, Name: "shop"}, object))
	return object
}

// enabled is what it says of its switch, and whether it syncs by itself.
func (a *argo) enabled() (string, bool) { return v1alpha1.Syncs(a.read().Object) }

// sync makes one move of Argo CD's controller: what is in Git is written over the
// workload, if the application syncs by itself.
func (a *argo) sync(name string, replicas int32) {
	a.t.Helper()
	if _, automated := a.enabled(); !automated {
		return
	}
	d := deployment(a.namespace, name)
	d.Annotations = tracked(a.namespace, name)
	d.Spec.Replicas = ptr.To(replicas)
	if a.serverSide {
		a.must(a.apply(d, "argocd-controller", client.ForceOwnership))
		return
	}
	live := a.deployment(name)
	if *live.Spec.Replicas == replicas {
		return
	}
	live.Spec.Replicas = d.Spec.Replicas
	a.must(a.Update(a.ctx, live, client.FieldOwner("argocd-controller")))
}

func tracked(namespace, name string) map[string]string {
	return map[string]string{"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:" + namespace + "/" + name}
}

// track marks a workload as Argo CD's own.
func (a *argo) track(name string) {
	a.t.Helper()
	apply := fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": %q, "annotations": {"argocd.argoproj.io/tracking-id": %q}}}`,
		name, tracked(a.namespace, name)["argocd.argoproj.io/tracking-id"])
	a.must(a.Patch(a.ctx, a.deployment(name), client.RawPatch(types.ApplyPatchType, []byte(apply)), client.FieldOwner("argocd-tracking")))
}

// may is an operator that may switch automated sync off here.
func (a *argo) may(c client.Client) *Reconciler {
	operator := a.operator(c)
	operator.ArgoCD = []string{a.namespace}
	return operator
}

// heldUnder is an operator under which alice's session holds the worker.
func (a *argo) heldUnder(automated string) *Reconciler {
	a.t.Helper()
	a.deploy("worker", 3)
	a.track("worker")
	a.application(automated, "worker")
	a.ask("alice", "worker")
	operator := a.may(a.WithWatch)
	a.drive(operator, "alice", "ready", func() bool { return a.isReady("alice") })
	return operator
}

// same is an application without what every write changes.
func same(application *unstructured.Unstructured) map[string]any {
	content := application.DeepCopy()
	content.SetResourceVersion("")
	content.SetGeneration(0)
	fields := content.GetManagedFields()
	for i := range fields {
		fields[i].Time = nil
	}
	content.SetManagedFields(fields)
	return content.Object
}
