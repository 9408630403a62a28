package story

import (
	"testing"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/queue"
	"understudy.dev/understudy/test/e2e/workload"
)

// broker starts a queue in the scene's namespace.
func (s *scene) broker() queue.Monitor {
	s.Helper()
	m, err := workload.Broker(s.within(patience), theCluster, s.namespace)
	s.must(err)
	return m
}

// publish puts n messages into the queue and waits until all are acknowledged.
func (s *scene) publish(m queue.Monitor, n int) queue.Counters {
	s.Helper()
	s.must(workload.Publish(s.within(patience), theCluster, s.namespace, n, 0))
	c, err := m.Settled(s.within(patience))
	if err != nil {
		s.Fatalf("%v\n%+v", err, c)
	}
	return c
}

// The main job: every message comes to the local process and none to the
// cluster's pods; afterwards everything is as it was.
func TestMainJob(t *testing.T) {
	t.Parallel()
	const messages = 1000
	s := newScene(t)
	m := s.broker()
	s.start("worker", workload.Options{Replicas: 3})

	// On an ordinary day the cluster's pods take what is published.
	start := s.publish(m, 100)
	if start.By("cluster") != 100 || start.By("local") != 0 {
		t.Fatalf("100 messages were for the cluster: %+v", start)
	}
	before := s.remember("worker", 3)

	// I take the worker's place.
	run := s.takeOver("deployment/worker", nil, "worker", "--site=local")
	s.ready(run, "connected to")

	// From ready on, all of 1,000 messages come to me and none to the cluster.
	during := s.publish(m, messages)
	if got := during.By("local") - start.By("local"); got != messages {
		t.Errorf("delivered to the local process: %d of %d", got, messages)
	}
	if got := during.By("cluster") - start.By("cluster"); got != 0 {
		t.Errorf("delivered to the cluster's pods: %d", got)
	}
	// The broker sees them go to the stand-in's address, not to a pod's it knew.
	known := map[string]bool{}
	for _, c := range start.Connections {
		known[c.IP] = true
	}
	if got := during.From(func(ip string) bool { return !known[ip] }); got != messages {
		t.Errorf("delivered to an address that was not there before: %d of %d", got, messages)
	}
	if during.AckFloor != during.Published {
		t.Errorf("%d messages are lost", during.Published-during.AckFloor)
	}

	// I press Ctrl-C: my worker ends by it as it would anywhere, and the
	// workload is back as it was.
	s.must(run.Interrupt())
	s.exits(run, 0)
	s.unchanged(before)

	// The next 1,000 are the cluster's again.
	after := s.publish(m, messages)
	if got := after.By("cluster") - during.By("cluster"); got != messages {
		t.Errorf("delivered to the cluster's pods: %d of %d", got, messages)
	}
	if got := after.By("local") - during.By("local"); got != 0 {
		t.Errorf("delivered to the local process after its end: %d", got)
	}

	// The team's own pipeline applies another number without a conflict.
	s.must(workload.Apply(s.ctx, theCluster, s.namespace, "worker", workload.Options{Replicas: 5}))
	s.must(theCluster.Available(s.within(patience), s.namespace, "worker", 5))
}

// A busy workload changes hands without losing a message, though its pods are
// slow to end and ignore SIGTERM.
func TestNothingLostWhileChangingHands(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	m := s.broker()
	s.start("worker", workload.Options{Replicas: 3, Grace: 3, Args: []string{"--work=20ms", "--prefetch=8", "--ignore-sigterm"}})
	before := s.remember("worker", 3)

	// Messages keep coming while I take the worker's place.
	published := make(chan error, 1)
	go func() { published <- workload.Publish(s.within(patience), theCluster, s.namespace, 2000, 1e6) }()
	run := s.takeOver("deployment/worker", nil, "worker", "--site=local", "--prefetch=8")
	s.ready(run, "connected to")
	ready, err := m.Read(s.ctx)
	s.must(err)
	s.must(<-published)
	during, err := m.Settled(s.within(patience))
	s.must(err)
	if got := during.By("cluster") - ready.By("cluster"); got != 0 {
		t.Errorf("delivered to the cluster's pods since it said ready: %d", got)
	}

	// And while I leave it.
	go func() { published <- workload.Publish(s.within(patience), theCluster, s.namespace, 2000, 1e6) }()
	err = cluster.Until(s.within(patience), queueMoves(m, during))
	s.must(err)
	s.must(run.Interrupt())
	s.exits(run, 0)
	s.must(<-published)
	s.unchanged(before)
	after, err := m.Settled(s.within(patience))
	s.must(err)
	if after.Published != 4000 || after.AckFloor != 4000 {
		t.Errorf("of 4000 messages %d were published and %d acknowledged", after.Published, after.AckFloor)
	}
}
