package story

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/workload"
)

// The queue's only worker is a bare pod. It is frozen where it stands, and from
// Ready on every message comes to me; afterwards the same pod goes on, not
// restarted.
func TestPause(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	const messages = 1000
	s := newScene(t)
	m := s.broker()
	pod := s.startPods("lone", workload.Options{}, "lone")[0]
	start := s.publish(m, 100)
	if start.By("cluster") != 100 {
		t.Fatalf("before all, the pod took %d of 100 messages", start.By("cluster"))
	}

	run := s.pause("pod/lone", nil, "worker", "--site=local")
	s.ready(run, "connected to nats")
	pod.isFrozen("when the session is ready")
	during := s.publish(m, messages)
	if got := during.By("local") - start.By("local"); got != messages {
		t.Errorf("delivered to the local process: %d of %d", got, messages)
	}
	if got := during.By("cluster") - start.By("cluster"); got != 0 {
		t.Errorf("delivered to the frozen pod: %d", got)
	}

	// Somebody else who tries is told who has it.
	other := s.pause("pod/lone", nil, "true")
	code, err := other.Exit(s.within(patience))
	s.must(err)
	if said := other.Err.String(); code == 0 || !strings.Contains(said, "held by "+s.user.Name) {
		t.Errorf("somebody else's session ends with exit code %d and says:\n%s", code, said)
	}
	pod.isFrozen("after somebody else tried")

	// Its container is killed: another is started in its place, behind the fence,
	// and is frozen before it could read. It has connected by now if it ever will.
	again := pod.killed(syscall.SIGKILL)
	restarted := s.publish(m, messages)
	if got := restarted.By("cluster") - start.By("cluster"); got != 0 {
		t.Errorf("delivered to the pod, whose container was started again: %d", got)
	}
	if got := restarted.By("local") - during.By("local"); got != messages {
		t.Errorf("delivered to the local process: %d of %d", got, messages)
	}

	began := time.Now()
	s.must(run.Interrupt())
	again.thawed(began, soonThawed+busy)
	s.exits(run, 0)
	s.agentsGone()
	after := s.publish(m, messages)
	if got := after.By("cluster") - restarted.By("cluster"); got != messages {
		t.Errorf("delivered to the thawed pod: %d of %d", got, messages)
	}
	again.wentOn()
}
