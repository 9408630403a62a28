package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// worker is a deployment at rest.
const worker = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, namespace: shop, uid: u1, generation: 1}
spec:
  replicas: 3
  template:
    metadata: {labels: {app: worker}}
    spec:
      containers:
      - name: app
        image: x
        resources: {requests: {cpu: 500m, memory: 512Mi}}
        envFrom: [{secretRef: {name: rabbit}}]
        env: [{name: REDIS, value: "redis://:geheim@cache.shop.svc.cluster.local:6379/0"}]
status: {observedGeneration: 1, replicas: 3, updatedReplicas: 3}
`

// shop is a world in which deployment/worker is to be held, or the object of
// another manifest.
func shop(t *testing.T, manifest string, change func(*World)) *World {
	t.Helper()
	object := read[unstructured.Unstructured](t, manifest)
	kind := strings.ToLower(object.GetKind())
	group, _, _ := strings.Cut(object.GetAPIVersion(), "/")
	w := &World{
		Asked: &config.Config{ReleaseConnections: true}, Takeover: config.TakeoverScaleDown, Username: "ada",
		Target: &target.Target{
			Target:    v1alpha1.Target{Group: group, Resource: kind + "s", Name: object.GetName(), UID: object.GetUID(), Container: "app"},
			Namespace: "shop", Kind: kind, Replicas: 1, Object: &object,
		},
	}
	if n, found, _ := unstructured.NestedInt64(object.Object, "spec", "replicas"); found {
		w.Target.Replicas = int32(n)
	}
	if kind == "pod" {
		w.Target.Group, w.Target.Pod = "", &corev1.Pod{}
		convert(t, object.Object, w.Target.Pod)
	} else if template, found, _ := unstructured.NestedMap(object.Object, "spec", "template"); found {
		w.Target.Template = &corev1.PodTemplateSpec{}
		convert(t, template, w.Target.Template)
	}
	if change != nil {
		change(w)
	}
	w.rehearse()
	return w
}

func convert(t *testing.T, content map[string]any, into any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, into); err != nil {
		t.Fatal(err)
	}
}

// read reads an object as a manifest has it.
func read[T any](t *testing.T, manifest string) T {
	t.Helper()
	var object T
	if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
		t.Fatalf("%v in %s", err, manifest)
	}
	return object
}

func seeing[T any](t *testing.T, manifests ...string) Seen[T] {
	t.Helper()
	var s Seen[T]
	for _, manifest := range manifests {
		s.Items = append(s.Items, read[T](t, manifest))
	}
	return s
}

// listed is another workload of the namespace.
func listed(t *testing.T, name, manifest string) target.Listed {
	t.Helper()
	template := read[corev1.PodTemplateSpec](t, manifest)
	return target.Listed{
		Ref: target.Ref{Group: "apps", Resource: "deployments", Name: name}, UID: types.UID(name), Kind: "Deployment",
		Replicas: 1, Counted: true, Template: &template,
	}
}

// expect holds findings against "Severity Code: part of what it says".
func expect(t *testing.T, got []Finding, want ...string) {
	t.Helper()
	var said []string
	for _, finding := range got {
		said = append(said, string(finding.Severity)+" "+string(finding.Code)+": "+finding.Says)
	}
	matches := len(said) == len(want)
	for i := range want {
		kind, part, _ := strings.Cut(want[i], ": ")
		matches = matches && i < len(said) && strings.HasPrefix(said[i], kind+": ") && strings.Contains(said[i], part)
	}
	if !matches {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, said))
	}
}
