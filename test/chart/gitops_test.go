package chart

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// applicationDefinition is Argo CD's, with what the operator has to do with.
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
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {
      spec: {type: object, x-kubernetes-preserve-unknown-fields: true},
      status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// applications makes Argo CD's resource known to the server, and one Application
// in each of the namespaces.
func (s *server) applications(t *testing.T, namespaces ...string) {
	t.Helper()
	admin := s.as(t, "")
	if err := client.IgnoreAlreadyExists(admin.Create(t.Context(), object(t, applicationDefinition))); err != nil {
		t.Fatal(err)
	}
	for _, ns := range namespaces {
		application := object(t, `{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: shop, annotations: {team: a}},
			spec: {project: shop, syncPolicy: {automated: {selfHeal: true}, syncOptions: [CreateNamespace=true]}}, status: {sync: {status: Synced}}}`)
		application.SetNamespace(ns)
		err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			err := s.as(t, "").Create(ctx, application.DeepCopy())
			return err == nil, nil
		})
		if err != nil {
			t.Fatalf("the API server does not serve applications: %v", err)
		}
	}
}

// What the operator may change so that Flux and Argo CD leave alone what is held:
// nothing unless the chart's values say so, and then no more than that. A mark
// that is there may be taken off whatever they say.
func TestWhatTheOperatorMayChangeForGitOps(t *testing.T) {
	s := installed(t)
	ns, argo, elsewhere := s.namespace(t, nil), s.namespace(t, nil), s.namespace(t, nil)
	labels := map[string]string{
		"app": "worker", "kustomize.toolkit.fluxcd.io/name": "apps", "helm.toolkit.fluxcd.io/driftDetection": "enabled",
	}
	store := statefulSet(ns, "store", 3)
	store.Labels = labels
	marked := statefulSet(ns, "marked", 0)
	marked.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/reconcile": "disabled", "understudy.dev/flux-reconcile": "true"}
	s.create(t, store, marked)
	s.applications(t, argo, elsewhere)

	patch := func(o client.Object, text string) error {
		return s.operator(t).Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(text)), client.DryRunAll)
	}
	set := func(name string) client.Object {
		return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
	application := func(namespace string) client.Object {
		o := object(t, `{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: shop}}`)
		o.SetNamespace(namespace)
		return o
	}
	const (
		mark   = `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/reconcile":"disabled","understudy.dev/flux-reconcile":"true"}},"spec":{"replicas":0}}`
		unmark = `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/reconcile":null,"understudy.dev/flux-reconcile":null}},"spec":{"replicas":3}}`
		pause  = `{"metadata":{"annotations":{"understudy.dev/paused-by-1":"{}"}},"spec":{"syncPolicy":{"automated":{"enabled":false}}}}`
		label  = "no label of a workload by which other controllers go, but the marks for Flux"
		other  = "nothing of an application but whether it syncs by itself"
	)
	t.Run("by default", func(t *testing.T) {
		check(t, patch(set("store"), mark), label)
		check(t, patch(set("marked"), unmark), "")
		check(t, patch(application(argo), pause), "forbidden")
	})

	defer func() {
		if _, err := s.helm(t, "upgrade", releaseName, chartDir, "--reset-values", "--set", "freeze.enabled=true"); err != nil {
			t.Error(err)
		}
	}()
	if _, err := s.helm(t, "upgrade", releaseName, chartDir, "--reset-values", "--set", "freeze.enabled=true,gitops.flux=true,gitops.argoCD.namespaces={"+argo+"}"); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return patch(set("store"), mark) == nil && patch(application(argo), `{"spec":{"project":"other"}}`) != nil, nil
	})
	if err != nil {
		t.Fatalf("the new values are not in force: %v", patch(set("store"), mark))
	}
	for _, test := range []struct {
		name   string
		object client.Object
		patch  string
		want   string
	}{
		{"mark", set("store"), mark, ""},
		{"unmark", set("marked"), unmark, ""},
		{"a mark that says something else", set("store"), `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/reconcile":"enabled"}}}`, label},
		{"somebody's own word", set("store"), `{"metadata":{"labels":{"helm.toolkit.fluxcd.io/driftDetection":"disabled"}}}`, label},
		{"the end of somebody's own word", set("store"), `{"metadata":{"labels":{"helm.toolkit.fluxcd.io/driftDetection":null}}}`, label},
		{"the owner", set("store"), `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"other"}}}`, label},
		{"a label that is nobody's", set("store"), `{"metadata":{"labels":{"team":"b"}}}`, ""},
		{"a session's label", set("store"), `{"metadata":{"labels":{"understudy.dev/session":"s"}}}`, label},

		{"pause", application(argo), pause, ""},
		{"resume", application(argo), `{"metadata":{"annotations":{"understudy.dev/paused-by-1":null}},"spec":{"syncPolicy":{"automated":{"enabled":null}}}}`, ""},
		{"in another namespace", application(elsewhere), pause, "forbidden"},
		{"the project", application(argo), `{"spec":{"project":"other"}}`, "nothing of a workload's spec"},
		{"how it syncs", application(argo), `{"spec":{"syncPolicy":{"automated":{"selfHeal":false}}}}`, other},
		{"what it does besides", application(argo), `{"spec":{"syncPolicy":{"automated":{"prune":true}}}}`, other},
		{"by hand only", application(argo), `{"spec":{"syncPolicy":{"automated":null}}}`, other},
		{"no policy", application(argo), `{"spec":{"syncPolicy":null}}`, "forbidden"},
		{"its options", application(argo), `{"spec":{"syncPolicy":{"syncOptions":[]}}}`, other},
		{"its retries", application(argo), `{"spec":{"syncPolicy":{"retry":{"limit":1}}}}`, other},
		{"a claim", application(argo), `{"metadata":{"annotations":{"understudy.dev/claim":"{}"}}}`, other},
		{"an annotation that is nobody's", application(argo), `{"metadata":{"annotations":{"team":"b"}}}`, ""},
		{"a refresh", application(argo), `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"hard"}}}`, "no annotation by which other controllers go"},
		{"a label that is nobody's", application(argo), `{"metadata":{"labels":{"team":"b"}}}`, ""},
		{"a label of it", application(argo), `{"metadata":{"labels":{"argocd.argoproj.io/instance":"b"}}}`, label},
		{"a sync", application(argo), `{"operation":{"sync":{"revision":"main"}}}`, "may not start what an application does"},
		{"its state", application(argo), `{"status":{"sync":{"status":"OutOfSync"}}}`, "nor say what it has done"},
	} {
		t.Run(test.name, func(t *testing.T) { check(t, patch(test.object, test.patch), test.want) })
	}
	t.Run("its deletion", func(t *testing.T) {
		check(t, s.operator(t).Delete(t.Context(), application(argo), client.DryRunAll), "forbidden")
	})
}
