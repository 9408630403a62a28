package story

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/broker"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/workload"
)

// holding is a broker's queue whose one consumer, in a pod that is to be frozen,
// holds messages that it does not acknowledge.
type holding struct {
	*scene
	dealer *workload.Dealer
	pod    *frozenPod
	kind   string
	// held are as many, by their numbers the first ones; since is when they began
	// to be published, to a consumer that waited for them.
	held  int
	since time.Time
}

// hold starts a broker and a consumer that takes the messages and keeps them.
func (s *scene) hold(kind string, silence time.Duration, prefetch, messages int) *holding {
	s.Helper()
	if err := workload.HasBroker(kind); err != nil {
		s.Skipf("SKIPPED: %v", err)
	}
	h := &holding{scene: s, kind: kind, held: messages}
	var err error
	h.dealer, err = workload.StartBroker(s.within(patience), theCluster, s.namespace, kind, silence)
	s.must(err)
	h.pod = s.startPods("holder", workload.Options{Args: []string{fmt.Sprintf("--prefetch=%d", prefetch)}}, "holder")[0]
	h.since = time.Now()
	_, err = h.dealer.Publish(s.within(patience), messages)
	s.must(err)
	h.counted(func(c broker.Counters) error {
		if c.Ready != 0 || kind != "redis-list" && c.Given["holder"] != messages {
			return fmt.Errorf("the consumer is to have %d messages", messages)
		}
		return nil
	})
	return h
}

// counted waits for what the broker counts.
func (h *holding) counted(wanted func(broker.Counters) error) broker.Counters {
	h.Helper()
	c, err := broker.Until(h.within(patience), h.dealer.Counters, wanted)
	h.must(err)
	return c
}

// freeze freezes the consumer with a local one in its place, and answers when the
// session was Ready.
func (h *holding) freeze(flags ...string) (*developer.Run, time.Time) {
	h.Helper()
	following, stop := context.WithCancel(h.ctx)
	h.Cleanup(stop)
	states, err := theCluster.FollowSessions(following, h.namespace)
	h.must(err)
	at := make(chan time.Time, 1)
	go func() {
		for session := range states {
			if cluster.HasCondition(understudy.ConditionReady)(session) == nil {
				at <- time.Now()
				return
			}
		}
	}()
	run := h.pause("pod/holder", flags, "broker", "consume", "--name=local")
	h.ready(run, "local consumes from "+h.kind)
	h.pod.isFrozen("when the session is ready")
	select {
	case ready := <-at:
		return run, ready
	case <-h.within(patience).Done():
		h.Fatal("the session was never seen to be Ready")
		return nil, time.Time{}
	}
}

// taking is one message that the local process has taken.
type taking struct {
	at     time.Time
	number int
	again  bool
}

var tookLine = regexp.MustCompile(`(?m)^(\S+) took order-(\d+)( again)?\r?$`)

// takings are all so far, the first of each message.
func takings(run *developer.Run) map[int]taking {
	all := map[int]taking{}
	for _, line := range tookLine.FindAllStringSubmatch(run.Out.String(), -1) {
		number, _ := strconv.Atoi(line[2])
		at, err := time.Parse(time.RFC3339Nano, line[1])
		if _, before := all[number]; err == nil && !before {
			all[number] = taking{at: at, number: number, again: line[3] != ""}
		}
	}
	return all
}

// first waits for the first of the held messages; the zero time where none has
// come until the bound is over.
func (h *holding) first(run *developer.Run, until time.Time) time.Time {
	h.Helper()
	ctx, cancel := context.WithDeadline(h.stopsWith(run), until)
	defer cancel()
	var first time.Time
	err := soon(ctx, func() error {
		for number, took := range takings(run) {
			if number <= h.held && (first.IsZero() || took.at.Before(first)) {
				first = took.at
			}
		}
		if first.IsZero() {
			return errors.New("none of the held messages has come")
		}
		return nil
	})
	if err != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		h.Fatal(err)
	}
	return first
}

// all waits until the local process has taken the messages up to a number.
func (h *holding) all(run *developer.Run, last int) {
	h.Helper()
	h.must(cluster.Until(h.stopsWith(run), func(context.Context) error {
		if n := len(takings(run)); n != last {
			return fmt.Errorf("the local process took %d of %d messages", n, last)
		}
		return nil
	}))
}
