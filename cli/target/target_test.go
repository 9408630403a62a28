package target

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Ref{
		"deployment/worker":               {"deployments", "worker", ""},
		"deploy/worker":                   {"deployments", "worker", ""},
		"Deployment/worker/container/app": {"deployments", "worker", "app"},
		"pod/worker-1":                    {"pods", "worker-1", ""},
		"pod/worker-1/container/app":      {"pods", "worker-1", "app"},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                          "no target is named; hint: say with --target (-t) which workload is meant; " + shapes,
		"worker":                    `target "worker" does not say what it is; hint: did you mean deployment/worker?`,
		"deployment/":               `target "deployment/" cannot be read; hint: ` + shapes,
		"deployment/a/b":            `target "deployment/a/b" cannot be read; hint: ` + shapes,
		"deployment/a/container/":   `target "deployment/a/container/" cannot be read; hint: ` + shapes,
		"deployment/a/pod/b":        `target "deployment/a/pod/b" cannot be read; hint: ` + shapes,
		"statefulset/db":            `target "statefulset/db": taking over a statefulset does not work yet; hint: a Deployment works, or a pod that belongs to one: ` + shapes,
		"cart/worker":               `target "cart/worker": there is no kind "cart" to take over; hint: ` + shapes,
		"deployment/a/container/b/": `target "deployment/a/container/b/" cannot be read; hint: ` + shapes,
	} {
		_, err := Parse(text)
		if got := said(err); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}

func said(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error() + "; hint: " + failure.Hint(err)
}

func owned(kind, name string) []metav1.OwnerReference {
	yes := true
	api := "apps/v1"
	if kind == "Session" {
		api = v1alpha1.GroupVersion.String()
	}
	return []metav1.OwnerReference{{APIVersion: api, Kind: kind, Name: name, Controller: &yes}}
}

func pod(name string, owners []metav1.OwnerReference) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, OwnerReferences: owners}}
}

func set(name string, owners []metav1.OwnerReference) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, OwnerReferences: owners}}
}

func deployment(name, preferred string, containers ...string) *appsv1.Deployment {
	three := int32(3)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "uid-" + "of"}}
	d.Spec.Replicas = &three
	if preferred != "" {
		d.Spec.Template.Annotations = map[string]string{defaultContainer: preferred}
	}
	for _, c := range containers {
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{Name: c})
	}
	d.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "migrate"}}
	return d
}

func cluster() *fake.Clientset {
	controlled := deployment("canary", "", "app")
	controlled.OwnerReferences = owned("Rollout", "canary")
	unset := deployment("unset", "", "app")
	unset.Spec.Replicas = nil
	return fake.NewClientset(
		deployment("worker", "", "app"), deployment("orders", "", "proxy", "app", "logs"),
		deployment("annotated", "app", "proxy", "app"), controlled, unset,
		pod("worker-abc-1", owned("ReplicaSet", "worker-abc")), set("worker-abc", owned("Deployment", "worker")),
		pod("bare", nil), pod("db-0", owned("StatefulSet", "db")), pod("standin", owned("Session", "worker-x1")),
		pod("alone-1", owned("ReplicaSet", "alone")), set("alone", nil),
		pod("rolled-1", owned("ReplicaSet", "rolled")), set("rolled", owned("Rollout", "rolled")),
		pod("lost-1", owned("ReplicaSet", "lost")),
	)
}

func TestResolve(t *testing.T) {
	for text, want := range map[string]Target{
		"deployment/worker":                    {Target: object("worker", "app"), Replicas: 3},
		"deployment/unset":                     {Target: object("unset", "app"), Replicas: 1},
		"deployment/annotated":                 {Target: object("annotated", "app"), Replicas: 3},
		"deployment/annotated/container/proxy": {Target: object("annotated", "proxy"), Replicas: 3},
		"deployment/orders": {Target: object("orders", "proxy"), Replicas: 3,
			Notices: []string{"container proxy is taken, the first one; there are also app and logs: choose with /container/NAME"}},
		"pod/worker-abc-1": {Target: object("worker", "app"), Replicas: 3,
			Notices: []string{"pod worker-abc-1 belongs to deployment/worker, which is taken over as a whole"}},
	} {
		want.Namespace, want.Kind = "shop", "deployment"
		ref, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Resolve(t.Context(), cluster(), "shop", ref)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func object(name, container string) v1alpha1.Target {
	return v1alpha1.Target{Group: "apps", Resource: "deployments", Name: name, UID: "uid-of", Container: container}
}

func TestResolveRefuses(t *testing.T) {
	const works = "a Deployment works, or a pod that belongs to one"
	for text, want := range map[string]string{
		"deployment/wroker": `there is no deployment "wroker" in namespace shop; hint: did you mean worker? Or choose another namespace with -n`,
		"deployment/zzzzzzzzz": `there is no deployment "zzzzzzzzz" in namespace shop; ` +
			`hint: there are annotated, canary, orders, unset and worker; choose another namespace with -n`,
		"deployment/worker/container/ap": `deployment/worker in namespace shop: there is no container "ap"; hint: there is app`,
		"deployment/orders/container/migrate": `deployment/orders in namespace shop: container "migrate" is an init container, whose place cannot be taken; ` +
			`hint: its containers are proxy, app and logs`,
		"deployment/canary": `deployment/canary is itself controlled by Rollout canary; hint: Rollout canary would undo whatever is done to the deployment; ` +
			`a workload of that kind cannot be taken over yet`,
		"pod/worker-abc": `there is no pod "worker-abc" in namespace shop; hint: did you mean worker-abc-1? Or choose another namespace with -n`,
		"pod/bare":       "pod/bare belongs to nothing that could be held: taking over a bare pod does not work yet; hint: a pod that belongs to a Deployment works",
		"pod/db-0":       "pod/db-0 belongs to StatefulSet db: taking over a StatefulSet does not work yet; hint: " + works,
		"pod/alone-1":    "pod/alone-1 belongs to ReplicaSet alone: taking over a ReplicaSet does not work yet; hint: " + works,
		"pod/rolled-1":   "pod/rolled-1 belongs to Rollout rolled: taking over a Rollout does not work yet; hint: " + works,
		"pod/standin":    "pod/standin is the stand-in of session worker-x1; hint: name the workload that it stands in for",
		"pod/lost-1":     `there is no replicaset "lost" in namespace shop; hint: choose another namespace with -n`,
	} {
		ref, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Resolve(t.Context(), cluster(), "shop", ref)
		if got := said(err); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

// TestResolveForbidden: who may not read is told which right is missing, and
// who may read but not list is not told near names.
func TestResolveForbidden(t *testing.T) {
	refuse := func(verb string) *fake.Clientset {
		client := cluster()
		client.PrependReactor(verb, "deployments", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "worker", nil)
		})
		return client
	}
	_, err := Resolve(context.Background(), refuse("get"), "shop", Ref{Resource: "deployments", Name: "worker"})
	if got := said(err); !strings.HasPrefix(got, "you may not read deployments in namespace shop: ") || !strings.Contains(got, "understudy-user") {
		t.Error(got)
	}
	_, err = Resolve(context.Background(), refuse("list"), "shop", Ref{Resource: "deployments", Name: "wroker"})
	if got, want := said(err), `there is no deployment "wroker" in namespace shop; hint: choose another namespace with -n`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
