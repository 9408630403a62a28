package hold

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Settle nudges a ReplicaSet that was kept at zero until it is scaled, and
// leaves no trace on any of them.
func TestSettle(t *testing.T) {
	c, namespace := apiClient(t)
	api := API{Reader: c, Writer: c}
	d := bare(namespace)
	d.Annotations = map[string]string{"deployment.kubernetes.io/revision": "2"}
	firstWriters["server-side apply"](t, c, d)
	now, old := replicaSet(d, "now", "2"), replicaSet(d, "old", "1")
	claim := NewClaim(d.UID, "s-1", "alice-1", "alice", 3, d.CreationTimestamp.Time).String()
	now.Annotations[v1alpha1.ClaimAnnotation], old.Annotations[v1alpha1.ClaimAnnotation] = claim, claim
	must(t, c.Create(t.Context(), now))
	must(t, c.Create(t.Context(), old))

	settle := func(want string, kept bool) {
		t.Helper()
		must(t, c.Get(t.Context(), client.ObjectKeyFromObject(d), d))
		got, err := Deployment{}.Settle(t.Context(), api, d)
		must(t, err)
		if !strings.HasPrefix(got.For, want) || (want == "") != (got.For == "") || got.Kept != kept {
			t.Errorf("it waits for %q, and is kept from acting: %t; want %q, %t", got.For, got.Kept, want, kept)
		}
		must(t, c.Get(t.Context(), client.ObjectKeyFromObject(now), now))
		must(t, c.Get(t.Context(), client.ObjectKeyFromObject(old), old))
		for _, set := range []*appsv1.ReplicaSet{now, old} {
			if set.Annotations[v1alpha1.ClaimAnnotation] != "" {
				t.Errorf("the copy on %s is still there", set.Name)
			}
		}
	}
	settle("the deployment controller", false)
	d.Status.ObservedGeneration = d.Generation
	must(t, c.Status().Update(t.Context(), d))
	settle("the replica sets to be scaled: 0 of 3", true)
	first := now.Annotations[v1alpha1.NudgeAnnotation]
	if first == "" || old.Annotations[v1alpha1.NudgeAnnotation] != "" {
		t.Errorf("nudged: %v, %v", now.Annotations, old.Annotations)
	}
	settle("the replica sets to be scaled: 0 of 3", true)
	second := now.Annotations[v1alpha1.NudgeAnnotation]
	if second == first {
		t.Error("the second nudge is no change")
	}
	// A paused deployment is scaled as any other.
	d.Spec.Paused = true
	must(t, c.Update(t.Context(), d))
	d.Status.ObservedGeneration = d.Generation
	must(t, c.Status().Update(t.Context(), d))
	settle("the replica sets to be scaled: 0 of 3", true)
	if now.Annotations[v1alpha1.NudgeAnnotation] == second {
		t.Error("the replica set of a paused deployment is not nudged")
	}
	now.Spec.Replicas = ptr.To(int32(3))
	must(t, c.Update(t.Context(), now))
	settle("", false)
	if now.Annotations[v1alpha1.NudgeAnnotation] != "" {
		t.Error("the nudge is still there")
	}
	for _, entry := range now.ManagedFields {
		if entry.Manager == FieldManager {
			t.Errorf("we still own something of the replica set: %s", entry.FieldsV1.Raw)
		}
	}
}

// Pods are found through ReplicaSets by UID: a pod that only looks like one is
// not the workload's.
func TestPods(t *testing.T) {
	c, namespace := apiClient(t)
	d := bare(namespace)
	firstWriters["server-side apply"](t, c, d)
	now, old := replicaSet(d, "now", "2"), replicaSet(d, "old", "1")
	other := replicaSet(d, "other", "1")
	other.OwnerReferences[0].UID = "another"
	for _, set := range []*appsv1.ReplicaSet{now, old, other} {
		must(t, c.Create(t.Context(), set))
		must(t, c.Create(t.Context(), podOf(set)))
	}
	alone := podOf(now)
	alone.Name, alone.OwnerReferences = "alone", nil
	must(t, c.Create(t.Context(), alone))
	pods, err := Deployment{}.Pods(t.Context(), c, d)
	must(t, err)
	var names []string
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	if got := strings.Join(names, " "); got != "now-pod old-pod" {
		t.Errorf("got %q, want %q", got, "now-pod old-pod")
	}
}

// Whose a pod is that only its controller is known of.
func TestControls(t *testing.T) {
	c, namespace := apiClient(t)
	d := bare(namespace)
	firstWriters["server-side apply"](t, c, d)
	ours, others := replicaSet(d, "ours", "1"), replicaSet(d, "others", "1")
	others.OwnerReferences[0].UID = "another"
	must(t, c.Create(t.Context(), ours))
	must(t, c.Create(t.Context(), others))
	for name, want := range map[string]struct {
		reference metav1.OwnerReference
		ours      bool
	}{
		"ours":            {metav1.OwnerReference{Kind: "ReplicaSet", Name: "ours", UID: ours.UID}, true},
		"another's":       {metav1.OwnerReference{Kind: "ReplicaSet", Name: "others", UID: others.UID}, false},
		"gone":            {metav1.OwnerReference{Kind: "ReplicaSet", Name: "gone", UID: "gone"}, true},
		"made anew":       {metav1.OwnerReference{Kind: "ReplicaSet", Name: "others", UID: "before"}, true},
		"no ReplicaSet's": {metav1.OwnerReference{Kind: "StatefulSet", Name: "ours", UID: "s"}, false},
	} {
		got, err := Deployment{}.Controls(t.Context(), c, namespace, d.UID, want.reference)
		must(t, err)
		if got != want.ours {
			t.Errorf("%s: got %v, want %v", name, got, want.ours)
		}
	}
}

func replicaSet(d *appsv1.Deployment, name, revision string) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.Namespace, Name: name, Labels: d.Spec.Template.Labels,
			Annotations:     map[string]string{"deployment.kubernetes.io/revision": revision},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(0)), Selector: d.Spec.Selector, Template: d.Spec.Template},
	}
}

func podOf(set *appsv1.ReplicaSet) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: set.Namespace, Name: set.Name + "-pod", Labels: set.Spec.Template.Labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))},
	}, Spec: set.Spec.Template.Spec}
}
