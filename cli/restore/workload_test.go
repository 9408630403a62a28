package restore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

// An object that was made from what was read of a held one bears that one's claim,
// at zero. Under the name that the session holds it is that workload, made anew, and
// is put back; under another one nobody knows what it should have, so the number is
// said before the claim is taken off.
func TestMadeFromWhatWasHeld(t *testing.T) {
	config := apitest.Config(t)
	scheme := runtime.NewScheme()
	must(t, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)))
	c, err := client.New(config, client.Options{Scheme: scheme})
	must(t, err)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "restore-"}}
	must(t, c.Create(t.Context(), namespace))
	ns := namespace.Name

	session := &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "alice"},
		Spec: v1alpha1.SessionSpec{
			Target:   v1alpha1.Target{Group: "apps", Resource: "deployments", Name: "worker", UID: "before", Container: "worker"},
			Takeover: v1alpha1.TakeoverScaleDown, Owner: v1alpha1.Owner{Username: "alice"},
			ClientKey: "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
		},
	}
	must(t, c.Create(t.Context(), session))
	now := metav1.NowMicro()
	session.Status.HeldAt, session.Status.Record = &now, &v1alpha1.Record{UID: "before", Replicas: 3}
	must(t, c.Status().Update(t.Context(), session))

	labels := map[string]string{"app": "worker"}
	claim := v1alpha1.NewClaim("before", session.UID, "alice", "alice", 3, now.Time)
	for _, name := range []string{"worker", "copy"} {
		must(t, c.Create(t.Context(), &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: map[string]string{v1alpha1.ClaimAnnotation: claim.String()}},
			Spec: appsv1.DeploymentSpec{
				Replicas: ptr.To(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "registry.example/worker:1"}}}},
			},
		}))
	}
	run := func(dryRun bool) string {
		var said []string
		must(t, Run(t.Context(), config, Options{Namespace: ns, DryRun: dryRun, Say: func(format string, args ...any) {
			said = append(said, fmt.Sprintf(format, args...))
		}}))
		return strings.Join(said, "\n")
	}
	had := "deployments " + ns + "/copy was made at zero with a claim that is of another object, which had replicas: 3"
	for _, trial := range []struct {
		dryRun bool
		want   []string
	}{
		{true, []string{had, "the claim on deployments " + ns + "/copy would be taken off", "deployments " + ns + "/worker would be put back: replicas: 3"}},
		{false, []string{had, "the claim on deployments " + ns + "/copy is taken off", "deployments " + ns + "/worker is put back: replicas: 3"}},
	} {
		said := run(trial.dryRun)
		for _, want := range trial.want {
			if strings.Count(said, want) != 1 {
				t.Errorf("with a dry run: %v, it does not say %q once:\n%s", trial.dryRun, want, said)
			}
		}
	}
	for name, want := range map[string]int32{"worker": 3, "copy": 0} {
		d := &appsv1.Deployment{}
		must(t, c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, d))
		if _, claimed := d.Annotations[v1alpha1.ClaimAnnotation]; *d.Spec.Replicas != want || claimed {
			t.Errorf("%s is at %d, not %d, claimed: %v", name, *d.Spec.Replicas, want, claimed)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A number that somebody has left out since is no wish, where the kind has no default
// for it; what the claim says is put back.
func TestDecideWithoutANumber(t *testing.T) {
	written := v1alpha1.NewClaim("w-1", "s-1", "alice", "alice", 3, time.Now())
	for _, c := range []struct {
		apiVersion, kind string
		want             decision
		number           int32
	}{
		{"example.com/v1", "Worker", number, 3},
		{"argoproj.io/v1alpha1", "Rollout", claim, 0},
	} {
		object := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
		object.SetAPIVersion(c.apiVersion)
		object.SetKind(c.kind)
		object.SetUID("w-1")
		object.SetAnnotations(map[string]string{v1alpha1.ClaimAnnotation: written.String()})
		if got := decide(object, []string{"spec", "replicas"}, nil, false); got != (verdict{decision: c.want, replicas: c.number}) {
			t.Errorf("%s: %+v, want %v and %d", c.kind, got, c.want, c.number)
		}
	}
}

// Whoever's number is back is not put back a second time, though the Session waits
// for what else was stopped for it: a zero that is there now is the team's.
func TestReturnedIsNotHeld(t *testing.T) {
	now := metav1.NowMicro()
	for _, returned := range []bool{false, true} {
		r := &restorer{sessions: []v1alpha1.Session{{Status: v1alpha1.SessionStatus{HeldAt: &now, Record: &v1alpha1.Record{UID: "worker", Replicas: 3, Returned: returned}}}}}
		object := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"uid": "worker"}, "spec": map[string]any{"replicas": int64(0)}}}
		what := decide(object, []string{"spec", "replicas"}, r.memory(object), false)
		if want := map[bool]decision{false: number, true: nothing}[returned]; what.decision != want || what.kept != "" {
			t.Errorf("returned %t: %+v, want %v", returned, what, want)
		}
	}
}

// A ReplicaSet of a Deployment has copies of what that bears, and is none that a person
// is told of or has anything to do with: not one at zero, and not one whose copy is
// damaged.
func TestReplicaSetsOfDeployments(t *testing.T) {
	w := newWorld(t)
	claimed, damaged := w.deploy("claimed"), w.deploy("damaged")
	session := w.session("alice", claimed, 3, false)
	w.annotate(claimed, v1alpha1.NewClaim(claimed.UID, session.UID, "alice", "ada", 3, metav1.Now().Time).String())
	w.session("bob", damaged, 2, false)
	w.annotate(damaged, "{")
	sets := w.kube.AppsV1().ReplicaSets(w.namespace)
	for _, d := range []*appsv1.Deployment{claimed, damaged} {
		_, err := sets.Create(t.Context(), &appsv1.ReplicaSet{
			ObjectMeta: metav1.ObjectMeta{
				Name: d.Name + "-7f9c", Labels: d.Spec.Template.Labels, Annotations: d.Annotations,
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
			},
			Spec: appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(0)), Selector: d.Spec.Selector, Template: d.Spec.Template},
		}, metav1.CreateOptions{})
		w.must(err)
	}
	for _, dry := range []bool{true, false} {
		said, err := w.run(dry)
		if err != nil {
			t.Errorf("dry %t: %v", dry, err)
		}
		if all := strings.Join(said, "\n"); strings.Contains(all, "replicasets") || strings.Contains(all, "by hand") {
			t.Errorf("dry %t: somebody is told of them:\n%s", dry, all)
		}
	}
	if a, b := w.replicas("claimed"), w.replicas("damaged"); a != 3 || b != 2 {
		t.Errorf("replicas are %d and %d, want 3 and 2", a, b)
	}
	list, err := sets.List(t.Context(), metav1.ListOptions{})
	w.must(err)
	for _, set := range list.Items {
		if _, there := set.Annotations[v1alpha1.ClaimAnnotation]; there {
			t.Errorf("%s still bears a copy", set.Name)
		}
	}
	if left, err := w.sessions.List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) > 0 {
		t.Errorf("%d sessions are left: %v", len(left.Items), err)
	}
}

// A stand-in is waited for as long as its agent may go on without hearing from anybody.
func TestEndIn(t *testing.T) {
	for lease, want := range map[int32]time.Duration{0: 75 * time.Second, 5: time.Minute, 60: 75 * time.Second, 600: 615 * time.Second} {
		session := &v1alpha1.Session{}
		session.Spec.LeaseDurationSeconds = lease
		if got := endIn(session); got != want {
			t.Errorf("with a lease of %d s: %s, want %s", lease, got, want)
		}
	}
}
