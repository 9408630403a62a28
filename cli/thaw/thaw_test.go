package thaw

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// world is a cluster in which the test is the node: agents that are deleted end,
// and the one that thaws does what the test says.
type world struct {
	*fake.Clientset
	// order is what was done, in words.
	order []string
}

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
		ended.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
		return true, nil, w.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), ended, action.GetNamespace())
	})
	w.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		made := action.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
		made.Name, made.UID = "thaw-x", "uid-x"
		made.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message}}}}
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
			test.options.Say = t.Logf
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
	if _, err := Run(ctx, w, Options{Node: "node-1", Say: t.Logf}); err == nil || len(w.order) != 0 {
		t.Errorf("without an image it did %q, %v", w.order, err)
	}
	if _, err := Run(ctx, w, Options{Node: "node-1", Agents: "agents", Image: "other", Say: t.Logf}); err != nil || !strings.Contains(strings.Join(w.order, "\n"), "of other") {
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
			options.Say = t.Logf
			if _, err := Run(ctx, w, options); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(w.order, "\n"); !strings.HasPrefix(got, "delete freeze-pod-u0\ncreate /understudy-agent thaw") || !strings.Contains(got, " on node-1 of registry.example/agent:9") {
				t.Errorf("it did\n%s", got)
			}
		})
	}
}
