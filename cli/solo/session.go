package solo

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
	"understudy.dev/understudy/operator/pending"
)

// Session is a freeze that this machine keeps, where an operator would: it sees
// what becomes of the agent and writes it into a Session of its own, which no API
// server has, with the conditions that an operator's has.
type Session struct {
	plan     *Plan
	follow   *session.Follower
	deadline time.Time

	mu sync.Mutex
	// agent as it was seen last; gone when it is no more.
	agent *corev1.Pod
	gone  bool
	// graced: a deletion of it was seen that leaves the kubelet time to end it.
	graced bool
	// ending: this machine ends it.
	ending bool
	// unpulled is since when the image is not got.
	unpulled time.Time
	tunnel   interface{ Unanswered() time.Duration }
}

// Follow is what is known of the session.
func (s *Session) Follow() *session.Follower { return s.follow }

// Image that the agent is made of.
func (s *Session) Image() string { return s.plan.options.Image }

// Heed has the tunnel to the agent be what Silence goes by.
func (s *Session) Heed(tunnel interface{ Unanswered() time.Duration }) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tunnel = tunnel
}

// Silence is how long the agent may not have heard of this machine: its lease is
// counted by itself, from what arrives through the tunnel. Before there is one
// nothing runs yet that must not outlive it.
func (s *Session) Silence() time.Duration {
	s.mu.Lock()
	tunnel := s.tunnel
	s.mu.Unlock()
	if tunnel == nil {
		return 0
	}
	return tunnel.Unanswered()
}

func (s *Session) set(kind string, status metav1.ConditionStatus, reason, message string) {
	s.follow.Tell(func(state *session.State) {
		state.Unreachable = nil
		meta.SetStatusCondition(&state.Session.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
	})
}

// over tells that the session has ended by no will of its owner's.
func (s *Session) over(why error) {
	s.follow.Tell(func(state *session.State) {
		if state.Over == nil {
			state.Over = why
		}
	})
}

// pullFor is how long an image may not be got before that is taken for final: by
// then the kubelet has tried more than once.
const pullFor = 20 * time.Second

// see judges the agent's pod; the events are about it, and may be missing. Called
// without mu.
func (s *Session) see(pod *corev1.Pod, events []corev1.Event) {
	s.mu.Lock()
	s.agent = pod
	if !pod.DeletionTimestamp.IsZero() && ptr.Deref(pod.DeletionGracePeriodSeconds, 0) > 0 {
		s.graced = true
	}
	ending := s.ending
	s.mu.Unlock()
	if ending {
		s.follow.Tell(func(state *session.State) { state.Unreachable = nil }) // End looks itself
		return
	}
	status := nodeagent.Status(pod, nodeagent.AgentContainer)
	ended, proved, message := nodeagent.Ended(pod)
	if by, said := session.FarewellOf(pod); said && (ended || !pod.DeletionTimestamp.IsZero()) {
		state, _ := s.follow.State()
		s.over(session.Ended(state.Session.Name, state.Session.Spec.Owner.Username, by))
		s.set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonEnding, "The session was ended.")
		return
	}
	switch {
	case ended:
		s.lost(message, proved)
	case !pod.DeletionTimestamp.IsZero():
		s.lost("its pod was deleted", false)
	case nodeagent.Over(pod):
		s.lost(cmp.Or(pod.Status.Message, pod.Status.Reason, string(pod.Status.Phase)), false)
	case status != nil && status.RestartCount > 0:
		s.lost("it was started again", false)
	case nodeagent.Ready(pod):
		s.set(v1alpha1.ConditionFrozen, metav1.ConditionTrue, v1alpha1.ReasonDone, fmt.Sprintf("The kernel of node %s has confirmed that the container is frozen.", pod.Spec.NodeName))
		s.set(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDone, "Ready.")
	default:
		s.awaits(pod, status, events)
	}
}

// awaits tells what the agent has not come to, and gives up what will not come.
func (s *Session) awaits(pod *corev1.Pod, status *corev1.ContainerStatus, events []corev1.Event) {
	why := strings.TrimSuffix(pending.Reason(pod, events), ".")
	if status != nil && status.State.Running != nil {
		why = "it has not said yet that the container is frozen"
	}
	s.set(v1alpha1.ConditionFrozen, metav1.ConditionFalse, v1alpha1.ReasonNodeAgentPending, fmt.Sprintf("Waiting for the agent on node %s: %s.", pod.Spec.NodeName, why))
	now, hint := time.Now(), "give it longer with --setup-timeout"
	if unpulled(status) {
		hint = "is the image where the node can pull it, and is it understudy's own agent? Another is named with --agent-image; now it is " + s.plan.options.Image
		if s.unpulled.IsZero() {
			s.unpulled = now
		}
	} else {
		s.unpulled = time.Time{}
	}
	late := !s.unpulled.IsZero() && now.Sub(s.unpulled) > pullFor
	if late || now.After(s.deadline) {
		waited := now.Sub(pod.CreationTimestamp.Time).Round(time.Second)
		s.over(failure.New(hint, "after %s the agent on node %s does not run: %s", waited, pod.Spec.NodeName, why))
	}
}

// unpulled says whether the kubelet does not get the image.
func unpulled(status *corev1.ContainerStatus) bool {
	if status == nil || status.State.Waiting == nil {
		return false
	}
	switch status.State.Waiting.Reason {
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable":
		return true
	}
	return false
}

// lost tells that the agent has ended by itself, or by somebody else; proved is
// whether it saw that nothing is frozen any more. Else that is looked at by End.
func (s *Session) lost(why string, proved bool) {
	why = strings.TrimSuffix(strings.TrimSpace(why), ".")
	state, _ := s.follow.State()
	node, name := s.plan.Node(), s.plan.target
	switch other, done := strings.CutPrefix(why, settings.NothingDone); {
	case strings.HasPrefix(why, settings.TooLate):
		s.over(failure.New("give it longer with --setup-timeout; is the node's clock right?", "the agent on node %s did not begin in time: %s", node, other))
	case done:
		s.over(failure.New("wait, or talk to its owner", "%s is somebody else's: %s", name, other))
	case state.Is(v1alpha1.ConditionFrozen) && proved:
		s.over(failure.New("start again", "the agent on node %s has ended, and the container is thawed: %s", node, why))
	case state.Is(v1alpha1.ConditionFrozen):
		s.over(failure.New("start again", "the agent on node %s has ended; whether the container is thawed is being looked at: %s", node, why))
	default:
		s.over(failure.New("holding a workload at zero instead takes the operator: "+session.InstallHint,
			"the agent on node %s did not get to container %s: %s", node, name.Container, why))
	}
	s.set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNodeAgentLost, why+".")
}

// away is called when the pod is no more.
func (s *Session) away() {
	s.mu.Lock()
	s.gone = true
	ending := s.ending
	s.mu.Unlock()
	if !ending {
		s.lost("its pod is gone", false)
	}
	s.follow.Tell(func(state *session.State) { state.Unreachable = nil })
}

// last is the agent's pod as it was seen last.
func (s *Session) last() (agent *corev1.Pod, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agent, s.gone
}

// waited says whether the agent's deletion was one that waits for the kubelet.
func (s *Session) waited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.graced
}

func (s *Session) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
}

// Run follows the agent until it is gone or ctx is done, and the frozen pod as long,
// and what comes beside that.
func (s *Session) Run(ctx context.Context) {
	target, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { s.watchTarget(target) })
	beside.Go(func() { s.watchBeside(target) })
	s.watch(ctx)
	stop()
	beside.Wait()
}
