package target

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
)

// A pod that is named is attached to, whatever it belongs to; of a workload the
// pod that is likeliest to be of use, and which one is said.
func TestAttached(t *testing.T) {
	yes := true
	meta := func(name, kind, owner string, age int) metav1.ObjectMeta {
		m := metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), CreationTimestamp: metav1.Unix(int64(1000-age), 0)}
		if kind != "" {
			group := "apps/v1"
			if kind == "Session" {
				group = "understudy.dev/v1alpha1"
			}
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: group, Kind: kind, Name: owner, UID: types.UID(owner), Controller: &yes}}
		}
		return m
	}
	pod := func(m metav1.ObjectMeta, ready bool) *corev1.Pod {
		p := &corev1.Pod{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: m, Status: corev1.PodStatus{Phase: corev1.PodRunning},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}, {Name: "proxy"}}},
		}
		if ready {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		return p
	}
	leaving := pod(meta("web-a-0", "ReplicaSet", "web-a", 90), true)
	leaving.DeletionTimestamp, leaving.Finalizers = &metav1.Time{Time: time.Unix(1000, 0)}, []string{"x"}
	gone := pod(meta("gone-a-1", "ReplicaSet", "gone-a", 1), true)
	gone.DeletionTimestamp, gone.Finalizers = leaving.DeletionTimestamp, leaving.Finalizers
	objects := []runtime.Object{
		&appsv1.Deployment{ObjectMeta: meta("web", "", "", 100)}, &appsv1.ReplicaSet{ObjectMeta: meta("web-a", "Deployment", "web", 100)},
		leaving,
		pod(meta("web-a-1", "ReplicaSet", "web-a", 80), false),
		pod(meta("web-a-3", "ReplicaSet", "web-a", 50), true), pod(meta("web-a-2", "ReplicaSet", "web-a", 50), true),
		pod(meta("web-a-4", "ReplicaSet", "web-a", 10), true),
		&appsv1.Deployment{ObjectMeta: meta("gone", "", "", 1)}, &appsv1.ReplicaSet{ObjectMeta: meta("gone-a", "Deployment", "gone", 1)}, gone,
		pod(meta("bare", "", "", 1), true), pod(meta("understudy-x", "Session", "x", 1), true),
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := Reader{Objects: dynamicfake.NewSimpleDynamicClient(scheme, objects...), Discovery: fake.NewClientset().Discovery()}
	for name, tc := range map[string]struct {
		target string
		taken  []string
		want   string // the pod, or what the error says
		notice string
	}{
		"a bare pod":                {"pod/bare/container/app", nil, "bare", ""},
		"a workload's pod, named":   {"pod/web-a-4/container/app", nil, "web-a-4", ""},
		"one that somebody has":     {"pod/web-a-4/container/app", []string{"web-a-4"}, "web-a-4", ""},
		"the oldest that is ready":  {"deployment/web/container/app", nil, "web-a-2", "pod web-a-2 is attached to, one of the 5 of deployment/web"},
		"and is nobody's":           {"deployment/web/container/app", []string{"web-a-2", "web-a-3"}, "web-a-4", "pod web-a-4 is attached to"},
		"rather than ready":         {"deployment/web/container/app", []string{"web-a-2", "web-a-3", "web-a-4"}, "web-a-1", "pod web-a-1 is attached to"},
		"though all are somebody's": {"deployment/web/container/app", []string{"web-a-1", "web-a-2", "web-a-3", "web-a-4"}, "web-a-2", "pod web-a-2 is attached to"},
		"of two containers":         {"pod/bare", nil, "bare", "container app is taken, the first one"},
		"no such container":         {"pod/bare/container/web", nil, `pod/bare in namespace shop: there is no container "web"`, ""},
		"pods that all leave":       {"deployment/gone", nil, "deployment/gone runs no pod that could be attached to", ""},
		"a stand-in":                {"pod/understudy-x", nil, "pod/understudy-x is the stand-in of session x", ""},
		"nothing":                   {"pod/nothing", nil, "there is no ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ref, err := Parse(tc.target)
			if err != nil {
				t.Fatal(err)
			}
			taken := map[types.UID]bool{}
			for _, pod := range tc.taken {
				taken[types.UID(pod)] = true
			}
			got, err := Attached(t.Context(), client, "shop", ref, taken)
			if err != nil {
				if !strings.HasPrefix(err.Error(), tc.want) {
					t.Errorf("it says %v", err)
				}
				return
			}
			if got.Resource != "pods" || got.Group != "" || got.Name != tc.want || string(got.UID) != tc.want || got.Container != "app" || got.String() != "pod/"+tc.want {
				t.Errorf("got %+v", got)
			}
			if notices := strings.Join(got.Notices, "\n"); !strings.HasPrefix(notices, tc.notice) || (notices == "") != (tc.notice == "") {
				t.Errorf("it is said %q", notices)
			}
		})
	}
}
