package solo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
	"understudy.dev/understudy/operator/nodeagent"
)

func TestMain(m *testing.M) { os.Exit(apitest.Main(m)) }

// world is a namespace of a real API server with one pod in it, worker-0. The test
// is its node: it says what becomes of agents.
type world struct {
	t      *testing.T
	admin  *session.Client
	client *session.Client
	pod    *corev1.Pod
	// lost is how many answers to what is made get lost after the server has done
	// what it was asked for; lose is those that are still to come.
	lost int32
	lose atomic.Int32
	// later is by how much the server's clock is ahead where it is asked for, so
	// that what was just made is old.
	later atomic.Int64
}

func newWorld(t *testing.T, change func(*corev1.Namespace, *corev1.Pod, *rest.Config)) *world {
	t.Helper()
	config := apitest.Config(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-", Labels: map[string]string{}}}
	w := &world{t: t}
	user := rest.CopyConfig(config)
	user.Wrap(func(next http.RoundTripper) http.RoundTripper { return loser{w.clock(next), &w.lose} })
	w.pod = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "worker-0", Labels: map[string]string{"app": "worker"}},
		Spec: corev1.PodSpec{
			NodeName: "node-1", AutomountServiceAccountToken: ptr.To(false), TerminationGracePeriodSeconds: ptr.To(int64(0)),
			Containers: []corev1.Container{{Name: "app", Image: "x"}},
		},
	}
	if change != nil {
		change(namespace, w.pod, user)
	}
	var err error
	if w.admin, err = session.NewClient(config, ""); err != nil {
		t.Fatal(err)
	}
	if namespace, err = w.admin.Kube.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if w.client, err = session.NewClient(user, namespace.Name); err != nil {
		t.Fatal(err)
	}
	w.pod, err = w.admin.Kube.CoreV1().Pods(namespace.Name).Create(t.Context(), w.pod, metav1.CreateOptions{})
	w.must(err)
	w.pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "app", ContainerID: "containerd://0123", Image: "x", ImageID: "x", Ready: true, Started: ptr.To(true),
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}}
	w.pod, err = w.admin.Kube.CoreV1().Pods(namespace.Name).UpdateStatus(t.Context(), w.pod, metav1.UpdateOptions{})
	w.must(err)
	return w
}

// loser loses answers.
type loser struct {
	next http.RoundTripper
	left *atomic.Int32
}

func (l loser) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && l.left.Add(-1) >= 0 {
		answer.Body.Close()
		return nil, errors.New("connection reset by peer")
	}
	return answer, err
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var created = regexp.MustCompile(`"creationTimestamp":"([^"]+)"`)

// clock has the answers to rehearsals come from later.
func (w *world) clock(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		later := time.Duration(w.later.Load())
		if later == 0 || r.Method != http.MethodPost || !r.URL.Query().Has("dryRun") {
			return next.RoundTrip(r)
		}
		r = r.Clone(r.Context())
		r.Header.Set("Accept", "application/json")
		answer, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return nil, err
		}
		body = created.ReplaceAllFunc(body, func(found []byte) []byte {
			at, err := time.Parse(time.RFC3339, string(created.FindSubmatch(found)[1]))
			if err != nil {
				return found
			}
			return []byte(`"creationTimestamp":"` + at.Add(later).Format(time.RFC3339) + `"`)
		})
		answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		return answer, nil
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) target() *target.Target {
	return &target.Target{
		Target:    v1alpha1.Target{Resource: "pods", Name: w.pod.Name, UID: w.pod.UID, Container: "app"},
		Namespace: w.pod.Namespace, Kind: "pod", Replicas: 1,
	}
}

func (w *world) check(o Options) (*Plan, error) {
	w.t.Helper()
	if o.Image == "" {
		o.Image = "registry.example/agent:1"
	}
	if o.Owner == "" {
		o.Owner = "ada@laptop"
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	return Check(ctx, w.client, w.target(), o)
}

// made is a session that was begun, and is followed until the test ends.
func (w *world) made(o Options) *Session {
	w.t.Helper()
	s, err := w.begin(o)
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-ended })
	return s
}

func (w *world) begin(o Options) (*Session, error) {
	w.t.Helper()
	plan, err := w.check(o)
	if err != nil {
		return nil, err
	}
	_, public, err := session.NewKey()
	w.must(err)
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	w.lose.Store(w.lost)
	return plan.Make(ctx, v1alpha1.SessionSpec{
		Target: plan.target.Target, Takeover: v1alpha1.TakeoverFreeze, ClientKey: public, Owner: v1alpha1.Owner{Username: "ada", Hostname: "laptop"}, LeaseDurationSeconds: 60, SetupDeadlineSeconds: 120,
	}, func(what string) { w.t.Log("waiting: " + what) })
}

// agent is a pod of ours; nil when there is none.
func (w *world) agent(namespace, name string) *corev1.Pod {
	w.t.Helper()
	pod, err := w.admin.Kube.CoreV1().Pods(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return pod
}

func (w *world) frozenBy() *corev1.Pod {
	w.t.Helper()
	return w.agent(w.pod.Namespace, nodeagent.SoloName(w.pod.UID))
}

// says is the kubelet, which says what became of an agent's container.
func (w *world) says(pod *corev1.Pod, phase corev1.PodPhase, status corev1.ContainerStatus) {
	w.t.Helper()
	status.Name, status.Image, status.ImageID = nodeagent.AgentContainer, "x", "x"
	pod = pod.DeepCopy()
	pod.ResourceVersion = ""
	pod.Status.Phase, pod.Status.ContainerStatuses = phase, []corev1.ContainerStatus{status}
	_, err := w.admin.Kube.CoreV1().Pods(pod.Namespace).UpdateStatus(w.t.Context(), pod, metav1.UpdateOptions{})
	w.must(err)
}

var running = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}

func (w *world) freezes() {
	w.t.Helper()
	w.says(w.frozenBy(), corev1.PodRunning, corev1.ContainerStatus{Ready: true, State: running})
}

func ended(code int32, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message, Reason: "Error", FinishedAt: metav1.Now()}}}
}

// leaves is somebody who ends the session from another terminal.
func (w *world) leaves(by v1alpha1.Owner) {
	w.t.Helper()
	agent := w.frozenBy()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// It goes on waiting for the proof, which is not what is looked at here.
		_, _ = Stop(ctx, w.client, &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Name: agent.Name, Namespace: agent.Namespace, UID: agent.UID}}, by, func(string) {})
	}()
	w.t.Cleanup(func() { cancel(); <-ended })
}

// lets the API server forget a pod whose end was said, as the kubelet does.
func (w *world) lets(pod *corev1.Pod) {
	w.t.Helper()
	err := w.admin.Kube.CoreV1().Pods(pod.Namespace).Delete(w.t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))})
	if !apierrors.IsNotFound(err) {
		w.must(err)
	}
}

// until polls what the API server tells.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-deadline:
			w.t.Fatalf("it never came to be: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (w *world) wait(s *Session, what string, enough func(session.State) bool) session.State {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 40*time.Second)
	defer cancel()
	state, err := s.Follow().Wait(ctx, enough)
	if err != nil {
		w.t.Fatalf("waiting for %s: %v; over: %v, %+v", what, err, state.Over, state.Session.Status.Conditions)
	}
	return state
}

// end ends a session as its user does, while the test goes on.
func (w *world) end(s *Session) <-chan result {
	results, _ := w.endHeard(s)
	return results
}

// endHeard is end, and what it says last that it waits for.
func (w *world) endHeard(s *Session) (_ <-chan result, waits func() string) {
	results := make(chan result, 1)
	var last atomic.Value
	last.Store("")
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		state, err := s.End(ctx, func(what string) {
			w.t.Log("waiting: " + what)
			last.Store(what)
		})
		results <- result{state, err}
	}()
	return results, func() string { return last.Load().(string) }
}

type result struct {
	state session.State
	err   error
}

// nothingLeft fails where something of a session is in a namespace.
func (w *world) nothingLeft(namespace string) {
	w.t.Helper()
	pods, err := w.admin.Kube.CoreV1().Pods(namespace).List(w.t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.SessionUIDLabel})
	w.must(err)
	secrets, err := w.admin.Kube.CoreV1().Secrets(namespace).List(w.t.Context(), metav1.ListOptions{})
	w.must(err)
	for _, pod := range pods.Items {
		w.t.Errorf("there is still pod %s", pod.Name)
	}
	for _, secret := range secrets.Items {
		w.t.Errorf("there is still secret %s", secret.Name)
	}
}
