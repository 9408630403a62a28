package story

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/fault"
	"understudy.dev/understudy/test/e2e/workload"
)

// The API server crashes and is started again in the middle of a session, and
// then stays down for longer than the lease. That is the cluster's fault and
// not the developer's: the session goes on through the first, nothing is
// restored while nobody can renew, and afterwards the workload comes back as it
// was.
func TestAPIServerAway(t *testing.T) {
	if !theCluster.Own {
		t.Skip("SKIPPED: the API server's process is not on this machine, and cannot be stopped from here")
	}
	const lease = 10 * time.Second
	began := time.Now()
	s := newScene(t)
	m := s.broker()
	s.start("worker", workload.Options{Replicas: 2})
	before := s.remember("worker", 2)
	run := s.takeOver("deployment/worker", []string{"--lease", "60s"}, "worker", "--site=local")
	s.ready(run, "connected to")
	start := s.publish(m, 50)

	t.Logf("%s: a session is ready", time.Since(began))

	// A second developer, with a short lease, on another workload.
	other := newScene(t)
	other.start("web", workload.Options{Replicas: 2})
	otherBefore := other.remember("web", 2)
	short := other.takeOver("deployment/web", []string{"--lease", lease.String()}, "sh", "-c", "echo up; sleep 1000")
	other.ready(short, "up")

	// The API server crashes, and is there again at once. Both go on.
	s.must(fault.KillAPIServer(s.ctx, theCluster))
	s.must(fault.StartAPIServer(s.ctx, theCluster))
	s.apiServerAnswers()
	t.Logf("%s: the API server is back after a crash", time.Since(began))
	now := s.publish(m, 100)
	t.Logf("%s: both sessions go on", time.Since(began))
	if now.By("cluster") != 0 || now.By("local")-start.By("local") < 100 {
		t.Errorf("after the crash: %d to the cluster's pods, %d of 100 here", now.By("cluster"), now.By("local")-start.By("local"))
	}
	if run.Ended() || short.Ended() {
		t.Fatal("a session has ended by the API server's crash")
	}

	// Now it stays down for longer than the short lease. The developer's tool
	// ends its process in time; nobody can tell it to the cluster.
	down := time.Now()
	s.must(fault.KillAPIServer(s.ctx, theCluster))
	s.must(cluster.Until(s.within(lease), func(context.Context) error {
		if left := short.Of("sleep"); len(left) > 0 {
			return fmt.Errorf("%s after the API server went, with a lease of %s, the local process still runs: %+v", time.Since(down), lease, left)
		}
		return nil
	}))
	t.Logf("the local process with the short lease is gone %s after the API server", time.Since(down))
	s.must(waitUntil(down.Add(lease * 3 / 2)))
	s.must(fault.StartAPIServer(s.ctx, theCluster))
	s.must(fault.RestartControllers(s.ctx, theCluster))
	s.apiServerAnswers()
	t.Logf("%s: the API server is back after an outage of %s", time.Since(began), time.Since(down))

	// The outage ended nobody's session by itself: the long lease has not run
	// out, whoever still wants it goes on.
	now = s.publish(m, 100)
	if now.By("cluster") != 0 {
		t.Errorf("after the outage, delivered to the cluster's pods: %d", now.By("cluster"))
	}
	if run.Ended() {
		t.Error("an outage of less than its lease has ended a session")
	}
	t.Logf("%s: the long session goes on", time.Since(began))
	// The other workload comes back, once the operator itself could see that
	// nobody renews.
	if _, err := short.Exit(s.within(patience)); err != nil {
		t.Error(err)
	}
	other.restored()
	// The nodes have to be heard of again before a pod on them counts.
	other.asBefore(other.within(3*time.Minute), otherBefore)
	t.Logf("%s: the short session's workload is as it was", time.Since(began))

	s.must(run.Interrupt())
	s.exits(run, 0)
	s.unchanged(before)
}

// apiServerAnswers waits until the API server answers and its controllers have
// found back.
func (s *scene) apiServerAnswers() {
	s.Helper()
	s.must(cluster.Until(s.within(patience), func(ctx context.Context) error {
		_, err := theCluster.Sessions(ctx, s.namespace)
		if err == nil {
			err = theCluster.Leads(ctx, time.Now().Add(-5*time.Second))
		}
		return err
	}))
}

// waitUntil waits for a moment, because that is what the story is about.
func waitUntil(moment time.Time) error {
	if time.Until(moment) > time.Minute {
		return errors.New("a story does not wait for so long")
	}
	<-time.After(time.Until(moment))
	return nil
}

// restored waits until no session holds anything any more; one that ended by
// itself and is kept to be read is deleted by its owner.
func (s *scene) restored() {
	s.Helper()
	var last error
	err := cluster.Until(s.within(patience), func(ctx context.Context) error {
		sessions, err := theCluster.Sessions(ctx, s.namespace)
		if err != nil {
			return err
		}
		for _, session := range sessions {
			last = errors.New("there is still a session")
			if len(session.Finalizers) == 0 && session.DeletionTimestamp == nil && cluster.HasCondition("Restored")(session) == nil {
				last = theCluster.DeleteSession(ctx, s.user, session)
			}
		}
		if len(sessions) == 0 {
			return nil
		}
		return last
	})
	s.must(err)
}

// top is the checkout.
func top() string { return os.Getenv("E2E_BIN") + "/.." }
