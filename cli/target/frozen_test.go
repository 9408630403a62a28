package target

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
)

// What freezing would have to reach: all that reads with the pod that was named.
func TestReaching(t *testing.T) {
	by := func(kind, name string) []metav1.OwnerReference {
		yes := true
		return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, UID: types.UID(name), Controller: &yes}}
	}
	meta := func(name string, owners []metav1.OwnerReference) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), OwnerReferences: owners}
	}
	pod := func(name string, owners []metav1.OwnerReference, phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: meta(name, owners), Status: corev1.PodStatus{Phase: phase},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}, {Name: "proxy"}}},
		}
	}
	set := func(name, of string) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: meta(name, by("Deployment", of))}
	}
	objects := []runtime.Object{
		&appsv1.Deployment{ObjectMeta: meta("one", nil)}, set("one-a", "one"), set("one-b", "one"),
		pod("one-a-1", by("ReplicaSet", "one-a"), corev1.PodRunning),
		pod("one-a-0", by("ReplicaSet", "one-a"), corev1.PodFailed),
		&appsv1.Deployment{ObjectMeta: meta("rolling", nil)}, set("rolling-a", "rolling"), set("rolling-b", "rolling"),
		pod("rolling-a-1", by("ReplicaSet", "rolling-a"), corev1.PodRunning),
		pod("rolling-b-1", by("ReplicaSet", "rolling-b"), corev1.PodPending),
		&appsv1.Deployment{ObjectMeta: meta("none", nil)},
		pod("db-0", by("StatefulSet", "db"), corev1.PodRunning), pod("db-1", by("StatefulSet", "db"), corev1.PodRunning),
		&appsv1.StatefulSet{ObjectMeta: meta("db", nil)},
		pod("bare", nil, corev1.PodRunning), pod("orphan-1", by("ReplicaSet", "orphan"), corev1.PodRunning),
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := Reader{Objects: dynamicfake.NewSimpleDynamicClient(scheme, objects...), Discovery: fake.NewClientset().Discovery()}
	for text, want := range map[string]struct {
		target string
		bare   bool
		pods   []string
	}{
		"pod/bare":           {"pod/bare", true, []string{"bare"}},
		"pod/one-a-1":        {"deployment/one", false, []string{"one-a-1"}},
		"deployment/one":     {"deployment/one", false, []string{"one-a-1"}},
		"pod/rolling-a-1":    {"deployment/rolling", false, []string{"rolling-a-1", "rolling-b-1"}},
		"deployment/rolling": {"deployment/rolling", false, []string{"rolling-a-1", "rolling-b-1"}},
		"deployment/none":    {"deployment/none", false, nil},
		"pod/db-0":           {"statefulset/db", false, []string{"db-0", "db-1"}},
		"pod/orphan-1":       {"replicaset/orphan", false, []string{"orphan-1"}},
	} {
		t.Run(text, func(t *testing.T) {
			ref, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Reaching(t.Context(), client, "shop", ref)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range got.Pods {
				names = append(names, p.Name)
			}
			if got.Target != want.target || got.Bare != want.bare || !slices.Equal(names, want.pods) {
				t.Errorf("got %s, bare %v, %v", got.Target, got.Bare, names)
			}
		})
	}
	for _, text := range []string{"pod/nothing", "deployment/nothing"} {
		ref, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Reaching(t.Context(), client, "shop", ref); err == nil {
			t.Errorf("%s reaches %+v", text, got)
		}
	}
	reach, err := Reaching(t.Context(), client, "shop", Ref{Group: "apps", Resource: "deployments", Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := reach.Frozen("shop", "proxy")
	if err != nil || frozen.Resource != "pods" || frozen.Group != "" || frozen.Name != "one-a-1" || frozen.UID != "one-a-1" || frozen.Container != "proxy" {
		t.Errorf("to be frozen: %+v, %v", frozen, err)
	}
	if _, err := reach.Frozen("shop", "nothing"); err == nil {
		t.Error("a container that there is not can be frozen")
	}
}
