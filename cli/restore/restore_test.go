package restore

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
	"understudy.dev/understudy/operator/hold/ownership"
)

func TestMain(m *testing.M) { os.Exit(apitest.Main(m)) }

// world is a namespace of a real API server in which no operator is.
type world struct {
	t         *testing.T
	config    *rest.Config
	kube      kubernetes.Interface
	sessions  dynamic.ResourceInterface
	namespace string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, config: apitest.Config(t)}
	var err error
	w.kube, err = kubernetes.NewForConfig(w.config)
	w.must(err)
	objects, err := dynamic.NewForConfig(w.config)
	w.must(err)
	namespace, err := w.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}, metav1.CreateOptions{})
	w.must(err)
	w.namespace = namespace.Name
	w.sessions = objects.Resource(v1alpha1.Resource).Namespace(w.namespace)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// deploy makes a workload that is at zero.
func (w *world) deploy(name string) *appsv1.Deployment {
	w.t.Helper()
	labels := map[string]string{"app": name}
	made, err := w.kube.AppsV1().Deployments(w.namespace).Create(w.t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "registry.example/worker:1"}}},
			},
		},
	}, metav1.CreateOptions{})
	w.must(err)
	return made
}

// annotate writes a claim.
func (w *world) annotate(d *appsv1.Deployment, claim string) {
	w.t.Helper()
	d.Annotations = map[string]string{v1alpha1.ClaimAnnotation: claim}
	_, err := w.kube.AppsV1().Deployments(w.namespace).Update(w.t.Context(), d, metav1.UpdateOptions{FieldManager: operatorName})
	w.must(err)
}

// session is one that has held a workload of so many replicas, and has put it
// back or not.
func (w *world) session(name string, d *appsv1.Deployment, replicas int32, back bool) *v1alpha1.Session {
	w.t.Helper()
	s := &v1alpha1.Session{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.SessionSpec{
			Target:    v1alpha1.Target{Group: "apps", Resource: "deployments", Name: d.Name, UID: d.UID, Container: "worker"},
			Takeover:  v1alpha1.TakeoverScaleDown,
			Owner:     v1alpha1.Owner{Username: "ada"},
			ClientKey: "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
		},
	}
	held, restored := metav1.ConditionTrue, metav1.ConditionUnknown
	if back {
		held, restored = metav1.ConditionFalse, metav1.ConditionTrue
	} else {
		s.Finalizers = []string{v1alpha1.Finalizer}
	}
	made, err := w.sessions.Create(w.t.Context(), w.plain(s), metav1.CreateOptions{})
	w.must(err)
	w.must(into(made, s))
	now := metav1.NowMicro()
	s.Status.HeldAt, s.Status.Record = &now, &v1alpha1.Record{UID: d.UID, Replicas: replicas, ReplicaOwners: ownership.Owners(d.ManagedFields, pathOf([]string{"spec", "replicas"}))}
	for kind, status := range map[string]metav1.ConditionStatus{v1alpha1.ConditionHeld: held, v1alpha1.ConditionRestored: restored} {
		s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: v1alpha1.ReasonDone, LastTransitionTime: metav1.Now()})
	}
	_, err = w.sessions.UpdateStatus(w.t.Context(), w.plain(s), metav1.UpdateOptions{})
	w.must(err)
	return s
}

func (w *world) plain(s *v1alpha1.Session) *unstructured.Unstructured {
	w.t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	w.must(err)
	return &unstructured.Unstructured{Object: content}
}

// run restores the namespace, and answers what it has said.
func (w *world) run(dry bool) (said []string, err error) {
	w.t.Helper()
	err = Run(w.t.Context(), w.config, Options{Namespace: w.namespace, DryRun: dry, Say: func(format string, args ...any) {
		said = append(said, fmt.Sprintf(format, args...))
	}})
	return said, err
}

func (w *world) replicas(name string) int32 {
	w.t.Helper()
	d, err := w.kube.AppsV1().Deployments(w.namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	w.must(err)
	if claim, claimed := d.Annotations[v1alpha1.ClaimAnnotation]; claimed {
		w.t.Errorf("%s still bears the claim %s", name, claim)
	}
	return *d.Spec.Replicas
}

// A session that has ended by itself is kept for a while, so that people can read
// why. What the team has made of its workload since is not touched.
func TestEndedSession(t *testing.T) {
	w := newWorld(t)
	w.session("ended", w.deploy("worker"), 3, true)
	for _, dry := range []bool{true, false} {
		said, err := w.run(dry)
		w.must(err)
		if slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "/worker") }) {
			t.Errorf("a person's 0 is none of it: %q", said)
		}
	}
	if n := w.replicas("worker"); n != 0 {
		t.Errorf("a person's 0 has become %d", n)
	}
	left, err := w.sessions.List(t.Context(), metav1.ListOptions{})
	w.must(err)
	if len(left.Items) != 0 {
		t.Errorf("%d sessions are left", len(left.Items))
	}
}

// Claims say what to put back; where one was stripped off, a session that has not
// put its workload back, and not one before it that has. A dry run does nothing.
func TestHeld(t *testing.T) {
	w := newWorld(t)
	claimed, stripped, damaged := w.deploy("claimed"), w.deploy("stripped"), w.deploy("damaged")
	now := metav1.Now()
	claim := v1alpha1.NewClaim(claimed.UID, "a-session-that-is-gone", "gone", "ada", 4, now.Time)
	w.annotate(claimed, claim.String())
	w.annotate(damaged, "{")
	w.session("a-before", stripped, 9, true)
	w.session("b-now", stripped, 3, false)
	w.session("c-damaged", damaged, 2, false)

	said, err := w.run(true)
	w.must(err)
	for _, want := range []string{"/claimed would be put back: replicas: 4", "/stripped would be put back: replicas: 3", "/damaged would be put back: replicas: 2", "/b-now of ada would be ended"} {
		if !slices.ContainsFunc(said, func(s string) bool { return strings.HasSuffix(s, want) }) {
			t.Errorf("it does not say %q: %q", want, said)
		}
	}
	if d, err := w.kube.AppsV1().Deployments(w.namespace).Get(t.Context(), "stripped", metav1.GetOptions{}); err != nil || *d.Spec.Replicas != 0 {
		t.Errorf("a dry run has set %d replicas (%v)", *d.Spec.Replicas, err)
	}

	_, err = w.run(false)
	w.must(err)
	for name, want := range map[string]int32{"claimed": 4, "stripped": 3, "damaged": 2} {
		if n := w.replicas(name); n != want {
			t.Errorf("%s is at %d, not %d", name, n, want)
		}
	}
	left, err := w.sessions.List(t.Context(), metav1.ListOptions{})
	w.must(err)
	if len(left.Items) != 0 {
		t.Errorf("%d sessions are left", len(left.Items))
	}
}

// What nobody can read is named and left to a person.
func TestUnreadable(t *testing.T) {
	w := newWorld(t)
	d := w.deploy("lost")
	w.annotate(d, "{")
	said, err := w.run(false)
	if err == nil || !strings.Contains(err.Error(), "1 left to a person") {
		t.Errorf("the error is %v", err)
	}
	if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "/lost is at zero") }) {
		t.Errorf("it is not named: %q", said)
	}
	after, err := w.kube.AppsV1().Deployments(w.namespace).Get(t.Context(), "lost", metav1.GetOptions{})
	w.must(err)
	if *after.Spec.Replicas != 0 || after.Annotations[v1alpha1.ClaimAnnotation] != "{" {
		t.Errorf("it was touched: %d replicas, %v", *after.Spec.Replicas, after.Annotations)
	}
}
