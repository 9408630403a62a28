package story

import (
	"context"
	"errors"
	"strings"
	"testing"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/workload"
)

// The pod's sandbox is killed under a frozen container. The kubelet makes another,
// with another network, in which a fence would have to be raised anew: the session
// ends, its local process with it, and I am told why. From then on the pod reads,
// and nothing has gone to both, or to none.
func TestPauseSandboxKilled(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	const messages = 200
	s := newScene(t)
	m := s.broker()
	pod := s.startPods("lone", workload.Options{}, "lone")[0]
	start := s.publish(m, 50)
	run := s.pause("pod/lone", nil, "worker", "--site=local")
	s.ready(run, "connected to nats")
	during := s.publish(m, messages)
	if remote, local := during.By("cluster")-start.By("cluster"), during.By("local")-start.By("local"); remote != 0 || local != messages {
		t.Errorf("delivered to the frozen pod: %d; to the local process: %d of %d", remote, local, messages)
	}

	s.must(pod.container.KillSandbox())
	s.exits(run, 125)
	if said := run.Err.String(); !strings.Contains(said, "the pod's sandbox was made anew, and its network with it") {
		t.Errorf("nobody said why:\n%s", said)
	}
	s.must(cluster.Until(s.within(patience), func(context.Context) error {
		if now := pod.now(); now.Status.ContainerStatuses[0].RestartCount == 0 || !isReady(now) {
			return errors.New("the pod was not started again")
		}
		return nil
	}))
	s.agentsGone()
	again := s.watched("lone")
	if rules, err := again.container.Rules(); again.container.Frozen() || err != nil || len(rules) > 0 {
		t.Errorf("the pod was started again frozen (%v) or behind %v, %v", again.container.Frozen(), rules, err)
	}
	after := s.publish(m, messages)
	if got := after.By("cluster") - during.By("cluster"); got != messages {
		t.Errorf("delivered to the pod afterwards: %d of %d", got, messages)
	}
}
