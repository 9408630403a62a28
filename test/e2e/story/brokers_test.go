package story

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/broker"
)

// heartbeat of the RabbitMQ consumers, theirs and mine, said outright: the
// broker closes a connection when two of them are missed.
const heartbeat = 10 * time.Second

// The queue's only consumer holds fifty messages that it has not acknowledged, and
// would take more. It is frozen where it stands, and RabbitMQ gives me those fifty
// at once, and every new one: its connection was reset. Where I have it kept, the
// fifty come when the heartbeats are missed.
func TestPauseRabbitMQ(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	const held, more = 50, 1000
	for name, tc := range map[string]struct {
		flags []string
		// prefetch of the consumer that is frozen: it would take more, but for
		// where its connection is kept. There the broker goes on giving to it.
		prefetch int
	}{
		"released": {nil, 2 * held},
		"kept":     {[]string{"--keep-connections"}, held},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			h := s.hold("rabbitmq", heartbeat, tc.prefetch, held)
			before := h.counted(func(broker.Counters) error { return nil })
			run, ready := h.freeze(tc.flags...)
			_, err := h.dealer.Publish(s.within(patience), more)
			s.must(err)
			h.all(run, held+more)
			h.mine(before, held+more)

			first := h.first(run, time.Now()).Sub(ready)
			t.Logf("the first of the %d came %s after Ready", held, first.Round(time.Millisecond))
			if released := name == "released"; released != (first < heartbeat) {
				t.Errorf("the first of the held messages came %s after Ready, with a heartbeat of %s", first, heartbeat)
			}

			began := time.Now()
			s.must(run.Interrupt())
			h.pod.thawed(began, soonThawed+busy)
			s.exits(run, 0)
			s.agentsGone()
			// It wakes to a connection that is gone, makes another, and goes on.
			_, err = h.dealer.Publish(s.within(patience), held)
			s.must(err)
			h.counted(func(c broker.Counters) error {
				if c.Ready != 0 || c.Given["holder"] != held {
					return fmt.Errorf("the thawed consumer is to have %d messages", held)
				}
				return nil
			})
			h.pod.wentOn()
		})
	}
}

// The frozen consumer's container is killed. The one that the kubelet starts in
// its place cannot reach the broker, and takes nothing.
func TestPauseRabbitMQKilled(t *testing.T) {
	t.Parallel()
	if !theCluster.Own {
		t.Skip("SKIPPED: the cluster's kernel is not this machine's, and cannot be asked from here")
	}
	const held, more = 50, 1000
	s := newScene(t)
	h := s.hold("rabbitmq", heartbeat, 2*held, held)
	before := h.counted(func(broker.Counters) error { return nil })
	run, _ := h.freeze()
	h.all(run, held)

	again := h.pod.killed(syscall.SIGKILL)
	_, err := h.dealer.Publish(s.within(patience), more)
	s.must(err)
	h.all(run, held+more)
	h.mine(before, held+more)
	again.isFrozen("at the end")

	began := time.Now()
	s.must(run.Interrupt())
	again.thawed(began, soonThawed+busy)
	s.exits(run, 0)
	s.agentsGone()
	_, err = h.dealer.Publish(s.within(patience), held)
	s.must(err)
	h.counted(func(c broker.Counters) error {
		if c.Given["holder"] != held {
			return fmt.Errorf("the thawed consumer is to have %d messages", held)
		}
		return nil
	})
	again.wentOn()
}

// mine waits until the queue is empty by the broker's own counters, and all that
// it has delivered since before was delivered to the local process, none to the
// pod's.
func (h *holding) mine(before broker.Counters, want int) {
	h.Helper()
	h.counted(func(c broker.Counters) error {
		switch delivered := c.Delivered - before.Delivered; {
		case c.Ready != 0 || c.Held != 0:
			return fmt.Errorf("the queue is not empty")
		case c.Given["local"] != want || delivered != want || c.Given["holder"] != 0:
			return fmt.Errorf("of %d deliveries %d were to the local process, which was to have %d", delivered, c.Given["local"], want)
		}
		return nil
	})
}
