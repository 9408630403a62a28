package solo

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// From the making to the proof, with answers that get lost on the way: one agent,
// and nothing is left.
func TestLife(t *testing.T) {
	w := newWorld(t, nil)
	w.lost = 2
	s := w.made(Options{})
	agent := w.frozenBy()
	if agent == nil || len(agent.OwnerReferences) != 1 || agent.OwnerReferences[0].UID != w.pod.UID {
		t.Fatalf("the agent is %+v", agent)
	}
	secret, err := w.admin.Kube.CoreV1().Secrets(agent.Namespace).Get(t.Context(), agent.Name, metav1.GetOptions{})
	w.must(err)
	if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != agent.UID || len(secret.Data[settings.KeyFile]) == 0 {
		t.Errorf("the secret is %+v", secret.ObjectMeta)
	}
	state := w.wait(s, "the beginning", func(state session.State) bool { return state.Is(v1alpha1.ConditionClaimed) })
	if state.Reachable() || state.Ended() != nil || state.Is(v1alpha1.ConditionReady) {
		t.Errorf("of an agent that was just made more is said than there is: %+v", state.Session.Status)
	}
	w.freezes()
	state = w.wait(s, "the freeze", func(state session.State) bool { return state.Is(v1alpha1.ConditionReady) })
	if !state.Reachable() || state.Session.Status.Agent.PodUID != agent.UID || state.Session.Status.Agent.CertificateFingerprint == "" {
		t.Errorf("the agent is not known: %+v", state.Session.Status.Agent)
	}
	w.until("nobody is unheard before there is a tunnel", func() bool { return s.Silence() == 0 })
	s.Heed(deaf(3 * time.Second))
	if s.Silence() != 3*time.Second {
		t.Errorf("the silence is %v", s.Silence())
	}

	results := w.end(s)
	w.until("it is asked to end", func() bool { return w.frozenBy().DeletionTimestamp != nil })
	w.says(w.frozenBy(), corev1.PodSucceeded, ended(0, "thawed in 2 ms: it was asked to end"))
	w.lets(w.frozenBy())
	if r := <-results; r.err != nil || !r.state.Gone || !strings.Contains(r.state.Outcome(), "thawed in 2 ms") {
		t.Errorf("it ends with %v: %q", r.err, r.state.Outcome())
	}
	w.nothingLeft(w.pod.Namespace)
}

// A secret whose answer got lost, or which an agent before has left, is made anew.
func TestSecretIsThere(t *testing.T) {
	w := newWorld(t, nil)
	s, err := w.begin(Options{})
	w.must(err)
	agent, _ := s.last()
	wanted := nodeagent.SoloSecret(agent, map[string][]byte{"new": []byte("it is")})
	w.lose.Store(1)
	w.must(s.plan.makeSecret(t.Context(), wanted))
	made, err := w.admin.Kube.CoreV1().Secrets(agent.Namespace).Get(t.Context(), agent.Name, metav1.GetOptions{})
	w.must(err)
	if string(made.Data["new"]) != "it is" || len(made.Data) != 1 {
		t.Errorf("the secret is the one from before")
	}
}

type deaf time.Duration

func (d deaf) Unanswered() time.Duration { return time.Duration(d) }

// Whatever becomes of the agent is said in its own words, or the kubelet's.
func TestLost(t *testing.T) {
	for name, test := range map[string]struct {
		frozen bool
		does   func(*world)
		says   string
		hint   string
	}{
		"killed": {true, func(w *world) { w.says(w.frozenBy(), corev1.PodRunning, ended(137, "")) }, "the agent on node node-1 has ended; whether the container is thawed is being looked at: Error", "start again"},
		"killed, and started anew": {true, func(w *world) {
			w.says(w.frozenBy(), corev1.PodRunning, corev1.ContainerStatus{RestartCount: 1, State: running})
		}, "it was started again", ""},
		"evicted": {true, func(w *world) { w.says(w.frozenBy(), corev1.PodFailed, corev1.ContainerStatus{}) }, "whether the container is thawed is being looked at: Failed", ""},
		"its lease has run out": {true, func(w *world) {
			w.says(w.frozenBy(), corev1.PodSucceeded, ended(0, "thawed in 1 ms: the lease has run out."))
		}, "has ended, and the container is thawed: thawed in 1 ms: the lease has run out", ""},
		"deleted": {true, func(w *world) {
			w.must(w.admin.Kube.CoreV1().Pods(w.pod.Namespace).Delete(w.t.Context(), w.frozenBy().Name, metav1.DeleteOptions{}))
		}, "its pod was deleted", ""},
		"ended from another terminal": {true, func(w *world) { w.leaves(v1alpha1.Owner{Username: "ada", Hostname: "desk"}) }, "you have ended the session ", "start again"},
		"ended by somebody else":      {true, func(w *world) { w.leaves(v1alpha1.Owner{Username: "jane", Hostname: "desk"}) }, "jane has ended the session ", "talk to them"},
		"gone by force":               {true, func(w *world) { w.lets(w.frozenBy()) }, "its pod", ""},
		"the frozen pod is deleted": {true, func(w *world) {
			w.must(w.admin.Kube.CoreV1().Pods(w.pod.Namespace).Delete(w.t.Context(), w.pod.Name, metav1.DeleteOptions{}))
		}, "pod worker-0 is being deleted", "a pod that runs"},
		"the frozen pod is gone by force": {true, func(w *world) { w.lets(w.pod) }, "pod worker-0 is", "a pod that runs"},
		"the frozen pod is evicted": {true, func(w *world) {
			evicted := w.pod.DeepCopy()
			evicted.Status.Phase, evicted.Status.Reason = corev1.PodFailed, "Evicted"
			_, err := w.admin.Kube.CoreV1().Pods(evicted.Namespace).UpdateStatus(w.t.Context(), evicted, metav1.UpdateOptions{})
			w.must(err)
		}, "pod worker-0 has ended: Evicted", "a pod that runs"},
		"it cannot":           {false, func(w *world) { w.says(w.frozenBy(), corev1.PodRunning, ended(1, "there is no freezer")) }, "the agent on node node-1 did not get to container app: there is no freezer", "takes the operator"},
		"no room on the node": {false, func(w *world) { w.says(w.frozenBy(), corev1.PodFailed, corev1.ContainerStatus{}) }, "did not get to container app: Failed", ""},
		"another has the pod": {false, func(w *world) {
			w.says(w.frozenBy(), corev1.PodSucceeded, ended(0, settings.NothingDone+"pod shop/worker-0 is held by jane (session x) since then"))
		}, "pod/worker-0 is somebody else's: pod shop/worker-0 is held by jane", "talk to its owner"},
		"nobody waited any more": {false, func(w *world) {
			w.says(w.frozenBy(), corev1.PodSucceeded, ended(0, settings.TooLate+"12:00, and was started at 12:01"))
		}, "the agent on node node-1 did not begin in time: it was to begin by 12:00, and was started at 12:01", "--setup-timeout"},
		"its image is not got": {false, func(w *world) {
			w.says(w.frozenBy(), corev1.PodPending, corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}}})
		}, "the agent on node node-1 does not run: container agent: ErrImagePull: no such image", "--agent-image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			s := w.made(Options{})
			if test.frozen {
				w.freezes()
				w.wait(s, "the freeze", func(state session.State) bool { return state.Is(v1alpha1.ConditionFrozen) })
			}
			test.does(w)
			state := w.wait(s, "its end", func(state session.State) bool { return state.Ended() != nil })
			if err := state.Ended(); !strings.Contains(err.Error(), test.says) || !strings.Contains(failure.Hint(err), test.hint) {
				t.Errorf("it says %v\nhint: %s", err, failure.Hint(err))
			}
		})
	}
}

// An agent that went without a word proves nothing: another one looks.
func TestThawedByAnother(t *testing.T) {
	w := newWorld(t, nil)
	s := w.made(Options{})
	w.freezes()
	w.wait(s, "the freeze", func(state session.State) bool { return state.Is(v1alpha1.ConditionFrozen) })
	w.says(w.frozenBy(), corev1.PodRunning, ended(137, ""))
	w.lets(w.frozenBy())
	w.wait(s, "its end", func(state session.State) bool { return state.Ended() != nil })
	results := w.end(s)
	name := "thaw-pod-" + string(w.pod.UID)
	w.until("another one is made", func() bool { return w.agent(w.pod.Namespace, name) != nil })
	if other := w.agent(w.pod.Namespace, name); !nodeagent.OnlyThaws(other) || len(other.Finalizers) > 0 {
		t.Errorf("the other one is %+v", other)
	}
	select {
	case r := <-results:
		t.Fatalf("it has ended without a proof: %v, %q", r.err, r.state.Outcome())
	default:
	}
	w.says(w.agent(w.pod.Namespace, name), corev1.PodSucceeded, ended(0, "thawed by an agent that only thaws"))
	if r := <-results; r.err != nil || !strings.Contains(r.state.Outcome(), "only thaws") {
		t.Errorf("it ends with %v: %q", r.err, r.state.Outcome())
	}
	w.until("it is gone", func() bool {
		pod := w.agent(w.pod.Namespace, name)
		return pod == nil || pod.DeletionTimestamp != nil
	})
}

// One that its node has no room for is taken away, and another is made: not at once
// again and again, and with the kubelet's words.
func TestThawingIsRejected(t *testing.T) {
	w := newWorld(t, nil)
	s := w.made(Options{})
	w.freezes()
	w.wait(s, "the freeze", func(state session.State) bool { return state.Is(v1alpha1.ConditionFrozen) })
	w.says(w.frozenBy(), corev1.PodRunning, ended(137, ""))
	w.lets(w.frozenBy())
	w.wait(s, "its end", func(state session.State) bool { return state.Ended() != nil })
	results, waits := w.endHeard(s)
	name := "thaw-pod-" + string(w.pod.UID)
	began := time.Now()
	var last *corev1.Pod
	for range 3 {
		w.until("another one is made", func() bool {
			pod := w.agent(w.pod.Namespace, name)
			if pod == nil || last != nil && pod.UID == last.UID {
				return false
			}
			last = pod
			return true
		})
		last.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods", Message: "Pod was rejected: no room for one more"}
		_, err := w.admin.Kube.CoreV1().Pods(last.Namespace).UpdateStatus(t.Context(), last, metav1.UpdateOptions{})
		w.must(err)
	}
	if took := time.Since(began); took < nodeagent.Retry(1)+nodeagent.Retry(2) {
		t.Errorf("three were made within %v", took)
	}
	w.until("that is said", func() bool {
		return strings.Contains(waits(), "node-1 to let an agent run that thaws (OutOfpods: Pod was rejected: no room for one more; 3 so far)")
	})
	w.until("there is room", func() bool {
		pod := w.agent(w.pod.Namespace, name)
		return pod != nil && pod.UID != last.UID
	})
	w.says(w.agent(w.pod.Namespace, name), corev1.PodSucceeded, ended(0, "thawed by an agent that only thaws"))
	if r := <-results; r.err != nil || !strings.Contains(r.state.Outcome(), "only thaws") {
		t.Errorf("it ends with %v: %q", r.err, r.state.Outcome())
	}
}

// What an agent of a session before has seen proves nothing of this one.
func TestProofOfAnother(t *testing.T) {
	w := newWorld(t, nil)
	s := w.made(Options{})
	w.freezes()
	w.wait(s, "the freeze", func(state session.State) bool { return state.Is(v1alpha1.ConditionFrozen) })
	o := s.plan.solo()
	o.Session = "before"
	before, err := w.admin.Kube.CoreV1().Pods(w.pod.Namespace).Create(t.Context(), nodeagent.SoloThaw(o), metav1.CreateOptions{})
	w.must(err)
	w.says(before, corev1.PodSucceeded, ended(0, "thawed long ago"))
	w.lets(w.frozenBy())
	w.wait(s, "its end", func(state session.State) bool { return state.Ended() != nil })
	results := w.end(s)
	w.until("it is taken away", func() bool {
		there := w.agent(w.pod.Namespace, before.Name)
		return there == nil || there.UID != before.UID || there.DeletionTimestamp != nil
	})
	w.until("another one is made", func() bool {
		there := w.agent(w.pod.Namespace, before.Name)
		return there != nil && there.UID != before.UID
	})
	w.says(w.agent(w.pod.Namespace, before.Name), corev1.PodSucceeded, ended(0, "thawed by an agent that only thaws"))
	if r := <-results; r.err != nil || strings.Contains(r.state.Outcome(), "long ago") || !strings.Contains(r.state.Outcome(), "only thaws") {
		t.Errorf("it ends with %v: %q", r.err, r.state.Outcome())
	}
}

// An agent whose container was never started has frozen nothing, and nobody is
// asked to prove it: its image may be what is missing.
func TestNeverRan(t *testing.T) {
	w := newWorld(t, nil)
	s := w.made(Options{})
	w.says(w.frozenBy(), corev1.PodPending, corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}})
	results := w.end(s)
	w.until("it is asked to end, and that is seen", func() bool { return w.frozenBy().DeletionTimestamp != nil && s.waited() })
	pod := w.frozenBy()
	w.lets(pod)
	if r := <-results; r.err != nil || !strings.Contains(r.state.Outcome(), "never ran") {
		t.Errorf("it ends with %v: %q", r.err, r.state.Outcome())
	}
	w.nothingLeft(w.pod.Namespace)
}

// Of an agent that was deleted by force the last word may be an old one: another
// one looks.
func TestDeletedByForce(t *testing.T) {
	w := newWorld(t, nil)
	s := w.made(Options{})
	w.says(w.frozenBy(), corev1.PodPending, corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}})
	w.until("it is seen to wait", func() bool {
		agent, _ := s.last()
		return nodeagent.Status(agent, nodeagent.AgentContainer) != nil
	})
	w.lets(w.frozenBy())
	w.wait(s, "its end", func(state session.State) bool { return state.Ended() != nil })
	results := w.end(s)
	name := "thaw-pod-" + string(w.pod.UID)
	w.until("another one is made", func() bool { return w.agent(w.pod.Namespace, name) != nil })
	w.says(w.agent(w.pod.Namespace, name), corev1.PodSucceeded, ended(0, "nothing was frozen any more"))
	if r := <-results; r.err != nil || !strings.Contains(r.state.Outcome(), "nothing was frozen any more") {
		t.Errorf("it ends with %v: %q", r.err, r.state.Outcome())
	}
}

// What proves that a container was never started, and what does not.
func TestNeverRanIsSeen(t *testing.T) {
	now := metav1.Now()
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}
	pod := func(deleted *metav1.Time, status corev1.ContainerStatus) *corev1.Pod {
		status.Name = nodeagent.AgentContainer
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: deleted},
			Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}},
		}
	}
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"it waited to the end":              {pod(&now, corev1.ContainerStatus{State: waiting}), true},
		"nobody had asked it to end":        {pod(nil, corev1.ContainerStatus{State: waiting}), false},
		"it ran before":                     {pod(&now, corev1.ContainerStatus{State: waiting, RestartCount: 1}), false},
		"it ran when it was seen last":      {pod(&now, corev1.ContainerStatus{State: running}), false},
		"it ended otherwise than by itself": {pod(&now, ended(137, "")), false},
	} {
		if got := neverRan(test.pod); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
