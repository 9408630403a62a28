package story

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/laptop"
	"understudy.dev/understudy/test/e2e/workload"
)

// onLaptop moves the scene's developer to a laptop whose road can be cut.
func (s *scene) onLaptop() *laptop.Network {
	s.Helper()
	if os.Geteuid() != 0 {
		s.Skip("SKIPPED: making a laptop's network needs root")
	}
	at, err := url.Parse(theCluster.REST.Host)
	s.must(err)
	network, err := laptop.New(at.Host)
	s.must(err)
	s.Cleanup(func() { network.Close() })
	s.dev = s.developer(s.user, network)
	return network
}

// The laptop's packets are dropped for 20 seconds: the session goes on, and my
// worker takes the messages that waited.
func TestRoadCutForAWhile(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	m := s.broker()
	s.start("worker", workload.Options{Replicas: 2})
	road := s.onLaptop()
	before := s.remember("worker", 2)
	run := s.takeOver("deployment/worker", []string{"--lease", "60s"}, "worker", "--site=local")
	session := s.ready(run, "connected to")
	taken := s.publish(m, 100)

	// I am in a tunnel. Messages wait, none goes to the cluster's pods.
	s.must(road.Cut())
	s.must(workload.Publish(s.within(patience), theCluster, s.namespace, 100, 0))
	s.staysHeld("worker", time.Now().Add(20*time.Second))
	s.must(road.Mend())

	// My worker goes on where it was, in the same session.
	now, err := m.Settled(s.within(patience))
	s.must(err)
	if now.By("cluster") != 0 {
		t.Errorf("delivered to the cluster's pods: %d", now.By("cluster"))
	}
	if got := now.By("local") - taken.By("local"); got < 100 {
		t.Errorf("delivered to the local process: %d of 100", got)
	}
	sessions, err := theCluster.Sessions(s.ctx, s.namespace)
	s.must(err)
	if len(sessions) != 1 || sessions[0].UID != session.UID {
		t.Errorf("it is not the same session: %+v", sessions)
	}
	s.must(run.Interrupt())
	s.exits(run, 0)
	s.unchanged(before)
}

// The packets are dropped for longer than the lease: the cluster takes its
// workload back, but only after my process has been cut off from it.
func TestRoadCutForLongerThanTheLease(t *testing.T) {
	t.Parallel()
	const lease = 10 * time.Second
	s := newScene(t)
	m := s.broker()
	s.start("worker", workload.Options{Replicas: 2})
	road := s.onLaptop()
	before := s.remember("worker", 2)
	run := s.takeOver("deployment/worker", []string{"--lease", lease.String()}, "worker", "--site=local")
	s.ready(run, "connected to")
	s.publish(m, 10)

	// I close the lid.
	s.must(road.Cut())
	s.staysHeld("worker", time.Now().Add(lease/2))

	// When the cluster's first pod connects to the broker, none of my
	// connections is open any more.
	both := errors.New("nobody of the cluster is connected")
	err := cluster.Until(s.within(patience), func(ctx context.Context) error {
		c, err := m.Read(ctx)
		if err != nil {
			return err
		}
		open := map[string]int{}
		for _, conn := range c.Connections {
			if !conn.Closed {
				open[conn.Site()]++
			}
		}
		if open["cluster"] > 0 && open["local"] > 0 {
			t.Fatalf("two consumers at once: %+v", c.Connections)
		}
		if open["cluster"] == 0 {
			return both
		}
		return nil
	})
	s.must(err)
	s.must(theCluster.Available(s.within(patience), s.namespace, "worker", 2))

	// What is published now is the cluster's.
	taken, err := m.Read(s.ctx)
	s.must(err)
	now := s.publish(m, 100)
	if got := now.By("local") - taken.By("local"); got != 0 {
		t.Errorf("delivered to the local process: %d", got)
	}

	// I open the lid: I am told that the session is over, and why.
	s.must(road.Mend())
	code, err := run.Exit(s.within(patience))
	s.must(err)
	if code == 0 {
		t.Error("a session that was lost has the exit code 0")
	}
	if !regexp.MustCompile(`(?i)lease`).MatchString(run.Err.String()) {
		t.Error("it does not say that the lease has run out")
	}
	s.unchanged(before)
}

// The stand-in is deleted in the middle: it is made again, nothing goes to the
// cluster's pods meanwhile, and my worker goes on.
func TestStandInDeleted(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	m := s.broker()
	s.start("worker", workload.Options{Replicas: 2})
	before := s.remember("worker", 2)
	run := s.takeOver("deployment/worker", nil, "worker", "--site=local")
	session := s.ready(run, "connected to")
	taken := s.publish(m, 50)

	s.must(theCluster.DeletePod(s.ctx, s.namespace, session.Status.Agent.PodName))
	next, err := theCluster.SessionUntil(s.stopsWith(run), s.namespace, func(now understudy.Session) error {
		if now.Status.Agent == nil || now.Status.Agent.Incarnation <= session.Status.Agent.Incarnation {
			return errors.New("the stand-in has not been made again")
		}
		return cluster.HasCondition(understudy.ConditionReady)(now)
	})
	s.must(err)
	if next.Status.Agent.CertificateFingerprint == session.Status.Agent.CertificateFingerprint {
		t.Error("the new stand-in has the old one's key")
	}
	now := s.publish(m, 100)
	if got := now.By("local") - taken.By("local"); got < 100 {
		t.Errorf("delivered to the local process: %d of 100", got)
	}
	if now.By("cluster") != 0 {
		t.Errorf("delivered to the cluster's pods: %d", now.By("cluster"))
	}
	s.must(run.Interrupt())
	s.exits(run, 0)
	s.unchanged(before)
}

// seed is a random run's own; the environment can repeat one.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if given := os.Getenv("E2E_SEED"); given != "" {
		var err error
		if n, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("%s: the seed is %d; E2E_SEED=%d repeats it\n", t.Name(), n, n)
	return n
}
