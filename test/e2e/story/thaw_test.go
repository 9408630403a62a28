package story

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"syscall"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/fault"
	"understudy.dev/understudy/test/e2e/workload"
)

// thawLease is the lease of the sessions that are broken.
const thawLease = 8 * time.Second

// breakage is one way in which a frozen session ends, or does not.
type breakage struct {
	name string
	// do breaks it.
	do func(*frozenPod, *developer.Run, understudy.Session)
	// within the pod is thawed and its network as it was; 0 where the session
	// has to live through it, and is ended by Ctrl-C afterwards.
	within time.Duration
	// by is what of the session's proof says who has thawed; the agent, where it is
	// empty.
	by string
	// reason of the session's end, where nobody ended it; or another, where two
	// are as likely.
	reason, orReason string
	// gone: the pod ends too, within its grace period and 2 seconds.
	gone bool
	// alone: it disturbs every session of the cluster.
	alone bool
	// unready: a kubelet that begins has every probed pod unready until it has
	// asked it, frozen or not.
	unready bool
}

const soonThawed = 2 * time.Second

// byItsOwner: the agent was told by the tunnel, before the cluster got to it.
const byItsOwner = "^thawed by the agent in .*: its owner has said that it is over$"

var breakages = []breakage{
	{name: "the command ends", within: soonThawed, by: byItsOwner, do: func(p *frozenPod, r *developer.Run, _ understudy.Session) {
		for _, process := range r.Of("sleep") {
			p.must(syscall.Kill(process.PID, syscall.SIGTERM))
		}
	}},
	{name: "Ctrl-C", within: soonThawed, by: byItsOwner, do: func(p *frozenPod, r *developer.Run, _ understudy.Session) { p.must(r.Interrupt()) }},
	{name: "SIGKILL of all on the developer's machine", within: thawLease + soonThawed, reason: understudy.ReasonNodeAgentLost, orReason: understudy.ReasonLeaseExpired,
		// The agent, its guard and the operator go by the same deadline, each by its
		// own count.
		by: "^thawed by the (agent|guard)",
		do: func(_ *frozenPod, r *developer.Run, _ understudy.Session) { r.Kill() }},
	{name: "SIGKILL of the agent", within: soonThawed, reason: understudy.ReasonNodeAgentLost,
		by: "^thawed by the guard",
		do: func(p *frozenPod, _ *developer.Run, session understudy.Session) {
			p.must(p.agentOf(session).Agent.Kill())
		}},
	{name: "SIGKILL of the guard", do: func(p *frozenPod, _ *developer.Run, session understudy.Session) {
		was := p.agentOf(session)
		p.must(was.Guard.Kill())
		p.must(cluster.Until(p.within(patience), func(context.Context) error {
			if now := p.agentOf(session); now.Guard.PID == 0 || now.Guard.PID == was.Guard.PID {
				return errors.New("there is no other guard yet")
			}
			return nil
		}))
	}},
	// Only the kubelet is left, which starts the agent again.
	{name: "SIGKILL of agent and guard at once", within: 10 * time.Second, reason: understudy.ReasonNodeAgentLost,
		// Where the operator is faster than the kubelet it makes another.
		by: lastNets,
		do: func(p *frozenPod, _ *developer.Run, session understudy.Session) {
			was := p.agentOf(session)
			p.must(errors.Join(was.Agent.Stop(), was.Guard.Stop()))
			p.must(errors.Join(was.Guard.Kill(), was.Agent.Kill()))
		}},
	// Only the operator is left, which has the Session's memory; and the kubelet,
	// where it hears of the pod's end too late and starts the agent once more.
	{name: "agent, guard and the agent's pod are gone at once", within: 10 * time.Second, reason: understudy.ReasonNodeAgentLost,
		by: lastNets,
		do: func(p *frozenPod, _ *developer.Run, session understudy.Session) {
			was := p.agentOf(session)
			p.must(errors.Join(was.Agent.Stop(), was.Guard.Stop()))
			p.forgetPod(agents, session.Status.Agent.PodName)
			p.must(errors.Join(was.Guard.Kill(), was.Agent.Kill()))
		}},
	{name: "the agent's pod is deleted", within: soonThawed, reason: understudy.ReasonNodeAgentLost,
		do: func(p *frozenPod, _ *developer.Run, session understudy.Session) {
			p.must(theCluster.Client.CoreV1().Pods(agents).Delete(p.ctx, session.Status.Agent.PodName, metav1.DeleteOptions{}))
		}},
	{name: "the agent's pod is deleted by force", within: soonThawed, reason: understudy.ReasonNodeAgentLost,
		do: func(p *frozenPod, _ *developer.Run, session understudy.Session) {
			p.must(theCluster.Client.CoreV1().Pods(agents).Delete(p.ctx, session.Status.Agent.PodName, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
		}},
	{name: "the frozen pod is deleted", within: soonThawed, gone: true, reason: understudy.ReasonTargetEnded,
		do: func(p *frozenPod, _ *developer.Run, _ understudy.Session) {
			p.must(theCluster.Client.CoreV1().Pods(p.namespace).Delete(p.ctx, p.before.Name, metav1.DeleteOptions{}))
		}},
	{name: "the node is drained", within: soonThawed, gone: true, alone: true, do: func(p *frozenPod, _ *developer.Run, session understudy.Session) {
		p.cordon(p.before.Spec.NodeName, true)
		p.Cleanup(func() { p.cordon(p.before.Spec.NodeName, false) })
		for namespace, name := range map[string]string{p.namespace: p.before.Name, agents: session.Status.Agent.PodName} {
			p.must(theCluster.Client.PolicyV1().Evictions(namespace).Evict(p.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}))
		}
	}},
	{name: "SIGKILL of the operator", alone: true, do: func(p *frozenPod, _ *developer.Run, _ understudy.Session) {
		killed := time.Now()
		_, err := fault.KillOperator(p.ctx, theCluster)
		p.must(err)
		p.must(cluster.Until(p.within(patience), func(ctx context.Context) error { return theCluster.Leads(ctx, killed) }))
	}},
	{name: "the kubelet is killed and started again", alone: true, unready: true, do: func(p *frozenPod, _ *developer.Run, _ understudy.Session) {
		p.must(fault.RestartOnNode(p.ctx, theCluster, p.before.Spec.NodeName, "kubelet"))
	}},
	{name: "containerd is killed and started again", alone: true, do: func(p *frozenPod, _ *developer.Run, _ understudy.Session) {
		p.must(fault.RestartOnNode(p.ctx, theCluster, p.before.Spec.NodeName, "containerd"))
	}},
}

// lastNets are who may have thawed where agent and guard are gone at once. An agent that
// another story starts on that node meanwhile undoes it too, and leaves no word.
const lastNets = "^(thawed by|nothing was frozen any more, seen by) (the agent, started again|an agent that only thaws)"

// Whatever ends, the pod is thawed.
func TestPauseEndings(t *testing.T) {
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	for _, b := range breakages {
		if b.alone {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			newScene(t).breaks(b, busy)
		})
	}
}

// broken is what came of one breakage.
type broken struct {
	// Thawed and Cleared are counted from the breakage, or from Ctrl-C where the
	// session lived through it.
	Thawed, Cleared time.Duration
	// Proof is what saw that nothing is frozen, in the session's own words.
	Proof string
}

// busy is what a machine may need longer that does much else at the same time.
const busy = 10 * time.Second

// breaks freezes a pod with probes, breaks the session, and sees the pod go on.
// It may take longer by the slack, and so is the lease.
func (s *scene) breaks(b breakage, slack time.Duration) (came broken) {
	s.Helper()
	pod := s.startPods("probed", workload.Options{Probes: []string{"http"}, Grace: 10}, "http")[0]
	run := s.pause("pod/http", []string{"--lease", (thawLease + slack).String()}, "sh", "-c", "echo it runs; exec sleep 1000")
	session := s.ready(run, "it runs")
	pod.isFrozen("when the session is ready")
	s.must(soon(s.within(patience), func() error {
		if len(run.Of("sleep")) == 0 {
			return errors.New("what the command ends with has not begun")
		}
		return nil
	}))
	proof := s.proof()
	began := time.Now()
	b.do(pod, run, session)
	within := b.within
	if within == 0 {
		// It goes on as if nothing had been.
		if run.Ended() {
			s.Error("the session has ended")
		}
		pod.isFrozen("after it")
		began, within = time.Now(), soonThawed
		s.must(run.Interrupt())
	}
	came.Thawed, came.Cleared = pod.thawed(began, within+slack)
	if b.gone {
		grace := time.Duration(*pod.before.Spec.TerminationGracePeriodSeconds) * time.Second
		s.must(cluster.Until(s.within(time.Until(began.Add(grace+2*time.Second+slack))), func(context.Context) error {
			if pod.now() != nil {
				return errors.New("the pod is there still")
			}
			return nil
		}))
	}
	if _, err := run.Exit(s.within(patience)); err != nil {
		s.Errorf("the command does not end: %v", err)
	}
	s.agentsGone()
	ended := proof()
	came.Proof = ended.Status.Frozen.Thawed
	if c := meta.FindStatusCondition(ended.Status.Conditions, understudy.ConditionReady); b.reason != "" && (c == nil || c.Reason != b.reason && c.Reason != b.orReason) {
		s.Errorf("the session has ended for another reason than %s: %+v", b.reason, c)
	}
	by := b.by
	if by == "" {
		by = "^thawed by the agent in "
	}
	if !regexp.MustCompile(by).MatchString(came.Proof) {
		s.Errorf("of how it was thawed the session says %q, not %q", came.Proof, by)
	}
	if !b.gone {
		pod.notRestarted()
		if !b.unready {
			pod.readyThroughout()
		}
	}
	return came
}

// proof follows the namespace's session, and answers afterwards what it was when it
// said how the pod was thawed: when the session is gone nobody can read it there.
func (s *scene) proof() func() understudy.Session {
	s.Helper()
	states, err := theCluster.FollowSessions(s.ctx, s.namespace)
	s.must(err)
	said := make(chan understudy.Session, 1)
	go func() {
		for state := range states {
			if frozen := state.Status.Frozen; frozen != nil && frozen.Thawed != "" {
				said <- state
				return
			}
		}
	}()
	return func() understudy.Session {
		s.Helper()
		select {
		case told := <-said:
			return told
		case <-s.within(patience).Done():
			s.Fatal("the session has never said how the pod was thawed")
			panic("unreachable")
		}
	}
}

// forgetPod takes a pod out of the cluster's memory, whoever would keep it there.
func (s *scene) forgetPod(namespace, name string) {
	s.Helper()
	pods := theCluster.Client.CoreV1().Pods(namespace)
	s.must(pods.Delete(s.ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	_, err := pods.Patch(s.ctx, name, "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	if !apierrors.IsNotFound(err) {
		s.must(err)
	}
}

// cordon keeps new pods from a node, or no more.
func (s *scene) cordon(name string, is bool) {
	s.Helper()
	patch := fmt.Sprintf(`{"spec":{"unschedulable":%t}}`, is)
	_, err := theCluster.Client.CoreV1().Nodes().Patch(context.WithoutCancel(s.ctx), name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
	s.must(err)
}
