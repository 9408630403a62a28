package story

import (
	"context"
	"regexp"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/workload"
)

// A colleague has the workload, and I wait. They end their session from another
// terminal, their process is told so and ends; then, and not a moment before, all
// messages come to me.
func TestWait(t *testing.T) {
	t.Parallel()
	const messages = 100
	s := newScene(t)
	m := s.broker()
	s.start("worker", workload.Options{Replicas: 2})
	second := s.newUser("second-" + s.namespace)
	s.grant(second, s.namespace)
	before := s.remember("worker", 2)
	both := s.neverBothReady()

	first := s.takeOver("deployment/worker", nil, "worker", "--site=first")
	held := s.ready(first, "connected to nats")
	theirs := s.dev
	s.dev = s.developer(second, nil)
	mine := s.takeOver("deployment/worker", []string{"--wait"}, "worker", "--site=second")
	_, err := mine.Err.Saw(s.stopsWith(mine), `held by `+regexp.QuoteMeta(held.Spec.Owner.Username)+`.*; you are next`)
	s.must(err)
	start := s.publish(m, messages)
	if got := start.By("first"); got != messages {
		t.Errorf("of %d messages %d came to who holds the workload", messages, got)
	}
	if mine.Out.String() != "" {
		t.Errorf("while it waited, something ran:\n%s", mine)
	}

	s.dev = theirs
	ends := s.run("understudy", "end", held.Name)
	s.exits(ends, 0)
	s.exits(first, 125)
	if said := first.Err.String(); !regexp.MustCompile(`error: you have ended the session ` + held.Name).MatchString(said) {
		t.Errorf("whose session it was is told:\n%s", said)
	}

	s.ready(mine, "connected to nats")
	// No pod of the workload runs any more, of those too that came back in between.
	between, err := m.Settled(s.within(patience))
	s.must(err)
	during := s.publish(m, messages)
	if got := during.By("second") - between.By("second"); got != messages {
		t.Errorf("of %d messages %d came to who waited", messages, got)
	}
	s.must(mine.Interrupt())
	s.exits(mine, 0)
	s.unchanged(before)
	if seen := both(); seen != "" {
		t.Errorf("both were ready: %s", seen)
	}
}

// neverBothReady looks on from here; what it gives tells when two sessions of the
// namespace were ready at once, if they ever were.
func (s *scene) neverBothReady() func() string {
	s.Helper()
	ctx, stop := context.WithCancel(s.ctx)
	s.Cleanup(stop)
	states, err := theCluster.FollowSessions(ctx, s.namespace)
	s.must(err)
	seen := make(chan string, 1)
	go func() {
		ready, found := map[string]bool{}, ""
		for session := range states {
			ready[session.Name] = meta.IsStatusConditionTrue(session.Status.Conditions, understudy.ConditionReady) && session.DeletionTimestamp == nil
			all := ""
			for name, is := range ready {
				if is && name != session.Name && ready[session.Name] {
					all = name + " and " + session.Name
				}
			}
			if found == "" {
				found = all
			}
		}
		seen <- found
	}()
	return func() string {
		stop()
		return <-seen
	}
}
