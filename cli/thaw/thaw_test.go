package thaw

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// world is a cluster in which the test is the node: agents that are deleted end,
// and the one that thaws does what the test says.
type world struct {
	*fake.Clientset
	// order is what was done, in words.
	order []string
	// waits is what it says that it waits for.
	waits []string
	// node is what the kubelet makes of the agent that thaws; nil for its end.
	node func(*corev1.Pod)
	// stuck is a node on which nothing ends.
	stuck bool
	// refuses an agent with a priority.
	refuses bool
}

// Wait and Done make it its own Step.
func (w *world) Wait(reason string) {
	if len(w.waits) == 0 || w.waits[len(w.waits)-1] != reason {
		w.waits = append(w.waits, reason)
	}
}

func (w *world) Done(string) {}

func (w *world) begin(string) Step { return w }

func newWorld(t *testing.T, code int32, message string, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{Clientset: fake.NewClientset(objects...)}
	w.PrependReactor("delete", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		name := action.(clienttesting.DeleteAction).GetName()
		w.order = append(w.order, "delete "+name)
		pod, err := w.Tracker().Get(corev1.SchemeGroupVersion.WithResource("pods"), action.GetNamespace(), name)
		if err != nil {
			return true, nil, err
		}
		ended := pod.(*corev1.Pod).DeepCopy()
		if len(ended.Finalizers) == 0 {
			return false, nil, nil
		}
		if w.stuck {
			return true, nil, nil
		}
		ended.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: nodeagent.AgentContainer, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
		return true, nil, w.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), ended, action.GetNamespace())
	})
	w.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		made := action.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
		if class := made.Spec.PriorityClassName; class != "" {
			w.order = append(w.order, "with class "+class)
			if w.refuses {
				return true, nil, apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("insufficient quota to match these scopes"))
			}
		}
		made.Name, made.UID = "thaw-x", "uid-x"
		made.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: nodeagent.AgentContainer, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message}}}}
		if w.node != nil {
			made.Status = corev1.PodStatus{Phase: corev1.PodPending}
			w.node(made)
		}
		w.order = append(w.order, "create "+strings.Join(made.Spec.Containers[0].Command, " ")+" on "+made.Spec.NodeName+" of "+made.Spec.Containers[0].Image)
		return false, nil, nil
	})
	return w
}

func agent(name, node, session string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: name, Finalizers: []string{v1alpha1.AgentFinalizer}, Labels: map[string]string{v1alpha1.SessionUIDLabel: session, v1alpha1.SessionNamespaceLabel: "shop"}},
		Spec:       corev1.PodSpec{NodeName: node},
	}
}

func node(name string) *corev1.Node { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }

func cluster() []runtime.Object {
	operator := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "understudy", Name: "understudy-operator", Labels: map[string]string{
		"app.kubernetes.io/name": "understudy", "app.kubernetes.io/component": "operator",
	}}}
	operator.Spec.Template.Spec.Containers = []corev1.Container{{Args: []string{"--agent-image=registry.example/agent:1", "--agents-namespace=agents"}}}
	return []runtime.Object{
		operator,
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "worker-0", UID: "u0"}, Spec: corev1.PodSpec{NodeName: "node-1"}},
		&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "pod-u0", Labels: map[string]string{v1alpha1.SessionUIDLabel: "s0"}}},
		agent("freeze-s0-1", "node-1", "s0"), agent("freeze-s1-1", "node-1", "s1"), agent("freeze-s2-1", "node-2", "s2"),
		node("node-1"), node("node-2"),
	}
}

func TestThaw(t *testing.T) {
	const image = " of registry.example/agent:1"
	for name, test := range map[string]struct {
		options Options
		code    int32
		order   []string
		err     string
	}{
		"a pod": {options: Options{Namespace: "shop", Pod: "worker-0"}, order: []string{
			"delete freeze-s0-1", "create /understudy-agent thaw --pod=u0 on node-1" + image, "delete thaw-x",
		}},
		"a node": {options: Options{Node: "node-1"}, order: []string{
			"delete freeze-s0-1", "delete freeze-s1-1", "create /understudy-agent thaw on node-1" + image, "delete thaw-x",
		}},
		"what cannot be undone": {options: Options{Node: "node-2"}, code: 1, err: "not thawed: it says", order: []string{
			"delete freeze-s2-1", "create /understudy-agent thaw on node-2" + image, "delete thaw-x",
		}},
		"no such pod":  {options: Options{Namespace: "shop", Pod: "nothing"}, err: `there is no pod "nothing" in namespace shop`},
		"no such node": {options: Options{Node: "node-9"}, err: `there is no node "node-9"`},
		"both":         {options: Options{Namespace: "shop", Pod: "worker-0", Node: "node-1"}, err: "--pod and --node exclude each other"},
		"neither":      {err: "which pod or which node"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.code, "it says", cluster()...)
			test.options.Say, test.options.Begin = t.Logf, w.begin
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			said, err := Run(ctx, w, test.options)
			if test.err == "" && (err != nil || said != "it says") || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("it says %q, %v", said, err)
			}
			if got, want := strings.Join(w.order, "\n"), strings.Join(test.order, "\n"); got != want {
				t.Errorf("it did\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// With the operator gone whole, the administrator says what its deployment said.
func TestThawWithoutOperator(t *testing.T) {
	objects := cluster()[1:]
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w := newWorld(t, 0, "it says", objects...)
	if _, err := Run(ctx, w, Options{Node: "node-1", Say: t.Logf, Begin: w.begin}); err == nil || len(w.order) != 0 {
		t.Errorf("without an image it did %q, %v", w.order, err)
	}
	if _, err := Run(ctx, w, Options{Node: "node-1", Agents: "agents", Image: "other", Say: t.Logf, Begin: w.begin}); err != nil || !strings.Contains(strings.Join(w.order, "\n"), "of other") {
		t.Errorf("it did %q, %v", w.order, err)
	}
}

// What was frozen without an operator is found beside its pod, or on the node, and
// says itself what agents are made of.
func TestThawWhatNoOperatorFroze(t *testing.T) {
	for name, options := range map[string]Options{"a pod": {Namespace: "shop", Pod: "worker-0"}, "a node": {Node: "node-1"}} {
		t.Run(name, func(t *testing.T) {
			target := cluster()[1].(*corev1.Pod)
			agent := nodeagent.Solo(nodeagent.SoloOptions{Namespace: "shop", Session: "s9", Owner: "ada@laptop", Image: "registry.example/agent:9", Target: target})
			agent.Finalizers = []string{"the world's, to be seen to end"}
			w := newWorld(t, 0, "it says", target, agent, node("node-1"))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			options.Say, options.Begin = t.Logf, w.begin
			if _, err := Run(ctx, w, options); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(w.order, "\n"); !strings.HasPrefix(got, "delete freeze-pod-u0\ncreate /understudy-agent thaw") || !strings.Contains(got, " on node-1 of registry.example/agent:9") {
				t.Errorf("it did\n%s", got)
			}
		})
	}
}

// What keeps an agent from running or from ending is said while it is waited for, in
// the kubelet's words, and the wait has an end that says what is left.
func TestThawWaits(t *testing.T) {
	for name, test := range map[string]struct {
		node  func(*corev1.Pod)
		stuck bool
		// waits, err and hint are to be said; none makes no agent that thaws.
		waits, err, hint string
		none             bool
	}{
		"its image is missing": {node: func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: nodeagent.AgentContainer, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}}}}
		}, waits: "ImagePullBackOff: no such image", err: "it has not ended within 500ms: container agent: ImagePullBackOff: no such image", hint: "what is frozen is not known: its pod agents/thaw-x was deleted"},
		"its volume is missing": {node: func(*corev1.Pod) {}, waits: "FailedMount: no such folder", err: "FailedMount: no such folder", hint: "was deleted"},
		"it hangs": {node: func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: nodeagent.AgentContainer, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		}, waits: "it runs on node node-1", err: "it has not ended within 500ms: it runs on node node-1", hint: "--timeout"},
		"its node has no room": {node: func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods", Message: "Pod was rejected: no room"}
		}, err: "node node-1 did not let the agent that thaws run: OutOfpods: Pod was rejected: no room", hint: "its pod agents/thaw-x was deleted"},
		"one that freezes does not end": {stuck: true, waits: "created on node node-1", err: "waiting for the agent freeze-s0-1 to end, which was asked to, and stays: it has not ended within 500ms", hint: "nothing else was done", none: true},
	} {
		t.Run(name, func(t *testing.T) {
			objects := cluster()
			if name == "its volume is missing" {
				objects = append(objects, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "e"}, Type: corev1.EventTypeWarning, Reason: "FailedMount", Message: "no such folder"})
			}
			w := newWorld(t, 0, "it says", objects...)
			w.node, w.stuck = test.node, test.stuck
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := Run(ctx, w, Options{Namespace: "shop", Pod: "worker-0", Timeout: 500 * time.Millisecond, Say: t.Logf, Begin: w.begin})
			if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(failure.Hint(err), test.hint) {
				t.Errorf("it says %v\nhint: %s", err, failure.Hint(err))
			}
			if said := strings.Join(w.waits, "\n"); !strings.Contains(said, test.waits) {
				t.Errorf("it waits for %q", said)
			}
			order := strings.Join(w.order, "\n")
			if made, deleted := strings.Contains(order, "create"), strings.HasSuffix(order, "delete thaw-x"); made == test.none || deleted == test.none {
				t.Errorf("it did\n%s", order)
			}
		})
	}
}

// A static pod is looked for by what its node calls it, and locked by its mirror's UID.
func TestThawStaticPod(t *testing.T) {
	objects := cluster()
	objects[1].(*corev1.Pod).Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "0123456789abcdef0123456789abcdef"}
	w := newWorld(t, 0, "it says", objects...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := Run(ctx, w, Options{Namespace: "shop", Pod: "worker-0", Say: t.Logf, Begin: w.begin}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.order, "\n"); !strings.HasPrefix(got, "delete freeze-s0-1\ncreate /understudy-agent thaw --pod=0123456789abcdef0123456789abcdef on node-1") {
		t.Errorf("it did\n%s", got)
	}
}

// That nothing of a pod is on its node is no proof of a thaw where the pod runs.
func TestThawOfNothing(t *testing.T) {
	for name, test := range map[string]struct {
		status corev1.ContainerState
		err    string
	}{
		"it runs":      {corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, "pod shop/worker-0 runs, and there is no process on node node-1 in a cgroup of its UID u0"},
		"it has ended": {corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			objects := cluster()
			objects[1].(*corev1.Pod).Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "worker", State: test.status}}
			w := newWorld(t, 0, settings.NothingThere+", seen by it", objects...)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := Run(ctx, w, Options{Namespace: "shop", Pod: "worker-0", Say: t.Logf, Begin: w.begin})
			if (err == nil) != (test.err == "") || err != nil && (err.Error() != test.err || !strings.Contains(failure.Hint(err), "understudy thaw --node node-1")) {
				t.Errorf("it says %v\nhint: %s", err, failure.Hint(err))
			}
		})
	}
}

// What a node has frozen that is nobody's is told by the names of its pods.
func TestThawNamesWhatIsLeft(t *testing.T) {
	w := newWorld(t, 1, "frozen, without a record that says by whom: container 0123 of pod u0 (cgroup v2); container 45 of pod gone (cgroup v1)", cluster()...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := Run(ctx, w, Options{Node: "node-1", Say: t.Logf, Begin: w.begin})
	if err == nil || !strings.Contains(err.Error(), "of pod u0 (cgroup v2)") || !strings.HasSuffix(failure.Hint(err), ":\nunderstudy thaw --pod worker-0 -n shop") {
		t.Errorf("it says %v\nhint: %s", err, failure.Hint(err))
	}
}

// It has the priority of the operator's agents, and none where that is refused.
func TestThawPriority(t *testing.T) {
	for name, refuses := range map[string]bool{"allowed": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			objects := cluster()
			containers := objects[0].(*appsv1.Deployment).Spec.Template.Spec.Containers
			containers[0].Args = append(containers[0].Args, "--agents-priority-class=system-node-critical")
			w := newWorld(t, 0, "it says", objects...)
			w.refuses = refuses
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, err := Run(ctx, w, Options{Namespace: "shop", Pod: "worker-0", Say: t.Logf, Begin: w.begin}); err != nil {
				t.Error(err)
			}
			if order := strings.Join(w.order, "\n"); strings.Count(order, "with class system-node-critical") != 1 || strings.Count(order, "create ") != 1 {
				t.Errorf("it did\n%s", order)
			}
		})
	}
}
