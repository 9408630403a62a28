package story

import (
	"testing"

	"understudy.dev/understudy/test/e2e/workload"
)

// The main job of a StatefulSet: every message comes to the local process, which
// is its first replica; afterwards the set's own pods take them again.
func TestStatefulSet(t *testing.T) {
	t.Parallel()
	const messages = 300
	s := newScene(t)
	m := s.broker()
	s.must(workload.Apply(s.within(patience), theCluster, s.namespace, "stateful", workload.Options{Replicas: 2}))
	start := s.publish(m, 100)
	if start.By("cluster") != 100 {
		t.Fatalf("100 messages were for the cluster: %+v", start)
	}

	// I take the set's place, by naming one of its pods.
	run := s.takeOver("pod/worker-0", nil, "worker", "--site=local")
	s.ready(run, "connected to")
	during := s.publish(m, messages)
	if got := during.By("local") - start.By("local"); got != messages {
		t.Errorf("delivered to the local process: %d of %d", got, messages)
	}
	if got := during.By("cluster") - start.By("cluster"); got != 0 {
		t.Errorf("delivered to the cluster's pods: %d", got)
	}

	// I leave, and the next messages are the set's again.
	s.must(run.Interrupt())
	s.exits(run, 0)
	after := s.publish(m, messages)
	if got := after.By("cluster") - during.By("cluster"); got != messages {
		t.Errorf("delivered to the cluster's pods: %d of %d", got, messages)
	}
}
