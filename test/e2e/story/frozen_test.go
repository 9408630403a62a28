package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/node"
	"understudy.dev/understudy/test/e2e/workload"
)

// agents is the namespace that the chart makes for agents on nodes.
const agents = "understudy-agents"

// frozenPod is a pod that a story freezes: what it was before, and the kernel's
// view of its container.
type frozenPod struct {
	*scene
	before    *core.Pod
	container *node.Container
}

// pause types `understudy exec --pause`.
func (s *scene) pause(target string, flags []string, command ...string) *developer.Run {
	s.Helper()
	args := append([]string{"exec", "-t", target, "--pause"}, flags...)
	return s.run("understudy", append(append(args, "--"), command...)...)
}

// startPods applies a manifest of package workload that has bare pods, and waits
// until they are ready.
func (s *scene) startPods(manifest string, o workload.Options, pods ...string) []*frozenPod {
	s.Helper()
	s.must(workload.Apply(s.within(patience), theCluster, s.namespace, manifest, o))
	var all []*frozenPod
	for _, name := range pods {
		all = append(all, s.watched(name))
	}
	return all
}

// watched waits until a pod is ready, and remembers it.
func (s *scene) watched(name string) *frozenPod {
	s.Helper()
	p := &frozenPod{scene: s}
	s.must(cluster.Until(s.within(patience), func(context.Context) error {
		var err error
		p.before, err = theCluster.Client.CoreV1().Pods(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
		if err == nil && !isReady(p.before) {
			err = fmt.Errorf("pod %s is not ready", name)
		}
		return err
	}))
	var err error
	p.container, err = node.Open(p.before, p.before.Spec.Containers[0].Name)
	s.must(err)
	s.Cleanup(func() { p.container.Close() })
	return p
}

func isReady(pod *core.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c core.PodCondition) bool {
		return c.Type == core.PodReady && c.Status == core.ConditionTrue
	})
}

// isFrozen fails unless the kernel says that the container is frozen.
func (p *frozenPod) isFrozen(when string) {
	p.Helper()
	if !p.container.Frozen() {
		p.Errorf("%s, the kernel does not say that the container of %s is frozen", when, p.before.Name)
	}
}

// killed sends the frozen container's processes a signal that ends them, waits until
// the kubelet has started another in its place and that is frozen too, and remembers
// the pod anew.
func (p *frozenPod) killed(signal syscall.Signal) *frozenPod {
	p.Helper()
	was := p.before.Status.ContainerStatuses[0].RestartCount
	p.must(p.container.Kill(signal))
	p.must(cluster.Until(p.within(patience), func(context.Context) error {
		if now := p.now(); now.Status.ContainerStatuses[0].RestartCount == was || !isReady(now) {
			return errors.New("the container was not started again")
		}
		return nil
	}))
	again := p.watched(p.before.Name)
	p.must(cluster.Until(p.within(patience), func(context.Context) error {
		if !again.container.Frozen() {
			return errors.New("the container that was started again is not frozen")
		}
		return nil
	}))
	return again
}

// thawed waits until the kernel says that nothing is frozen and that no rule of
// ours is left in the pod's network, and answers how long each took from began.
func (p *frozenPod) thawed(began time.Time, within time.Duration) (thawed, cleared time.Duration) {
	p.Helper()
	ctx := p.within(time.Until(began.Add(within)))
	p.must(soon(ctx, func() error {
		if p.container.Frozen() {
			return errors.New("the container is frozen still")
		}
		return nil
	}))
	thawed = time.Since(began)
	p.must(soon(ctx, func() error {
		rules, err := p.container.Rules()
		if err == nil && len(rules) > 0 {
			err = fmt.Errorf("in the pod's network there is still %q", rules)
		}
		return err
	}))
	cleared = time.Since(began)
	p.Logf("thawed after %s, its network as it was after %s", thawed.Round(time.Millisecond), cleared.Round(time.Millisecond))
	return thawed, cleared
}

// soon is cluster.Until where milliseconds are counted.
func soon(ctx context.Context, ask func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// now is the pod as the cluster has it; nil when it is gone.
func (p *frozenPod) now() *core.Pod {
	p.Helper()
	pod, err := theCluster.Client.CoreV1().Pods(p.namespace).Get(p.ctx, p.before.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	p.must(err)
	return pod
}

// wentOn fails unless it is the same pod, which nobody restarted, and which was
// ready all the time.
func (p *frozenPod) wentOn() {
	p.Helper()
	p.notRestarted()
	p.readyThroughout()
}

func (p *frozenPod) notRestarted() {
	p.Helper()
	now := p.now()
	if now == nil || now.UID != p.before.UID {
		p.Errorf("pod %s is another one, or gone", p.before.Name)
		return
	}
	for i, status := range now.Status.ContainerStatuses {
		if was := p.before.Status.ContainerStatuses[i].RestartCount; status.RestartCount != was {
			p.Errorf("container %s of pod %s was restarted %d times: %+v", status.Name, now.Name, status.RestartCount-was, status.LastTerminationState)
		}
	}
}

func (p *frozenPod) readyThroughout() {
	p.Helper()
	now := p.now()
	if now == nil {
		return // said already
	}
	readiness := func(pod *core.Pod) (all []core.PodCondition) {
		for _, c := range pod.Status.Conditions {
			if c.Type == core.PodReady {
				all = append(all, core.PodCondition{Status: c.Status, LastTransitionTime: c.LastTransitionTime})
			}
		}
		return all
	}
	if was, is := readiness(p.before), readiness(now); !slices.Equal(was, is) {
		p.Errorf("pod %s has not been ready all the time: was %v, is %v", now.Name, was, is)
	}
}

// agentPod is the pod of a session's agent.
func (s *scene) agentPod(session understudy.Session) *core.Pod {
	s.Helper()
	pod, err := theCluster.Client.CoreV1().Pods(agents).Get(s.ctx, session.Status.Agent.PodName, metav1.GetOptions{})
	s.must(err)
	return pod
}

// agentOf is the session's agent on the node, and its guard.
func (s *scene) agentOf(session understudy.Session) node.Agent {
	s.Helper()
	agent, err := node.AgentOf(s.agentPod(session), string(session.UID))
	s.must(err)
	return agent
}

// agentsGone waits until nothing of the scene's sessions is in the agents'
// namespace.
func (s *scene) agentsGone() {
	s.Helper()
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		pods, err := theCluster.Client.CoreV1().Pods(agents).List(ctx, metav1.ListOptions{LabelSelector: understudy.SessionNamespaceLabel + "=" + s.namespace})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("there is still %s", pods.Items[0].Name)
		}
		return err
	}))
}
