package story

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/fault"
	"understudy.dev/understudy/test/e2e/workload"
)

// The operator is killed with SIGKILL at random moments, over and over, while
// sessions begin, run and end in several namespaces. Each session becomes ready,
// each workload comes back as it was, and nothing is left.
func TestOperatorKilled(t *testing.T) {
	const (
		kills  = 30
		houses = 3
	)
	if !theCluster.Own {
		t.Skip("SKIPPED: the operator's process is not on this machine, and cannot be killed from here")
	}
	n := seed(t)
	over := make(chan struct{})
	var sessions, lives sync.WaitGroup
	count := make(chan int, houses)
	for i := range houses {
		s := newScene(t)
		s.start("web", workload.Options{Replicas: 2})
		before := s.remember("web", 2)
		random := rand.New(rand.NewPCG(n, uint64(i)))
		sessions.Go(func() {
			done := 0
			defer func() { count <- done }()
			for {
				select {
				case <-over:
					return
				default:
				}
				if !s.surviving(before, random) {
					return
				}
				done++
			}
		})
	}

	random := rand.New(rand.NewPCG(n, 99))
	lives.Go(func() {
		defer close(over)
		for killed := range kills {
			if err := killLeader(random); err != nil {
				t.Errorf("kill %d: %v", killed+1, err)
				return
			}
		}
	})
	lives.Wait()
	sessions.Wait()
	total := 0
	for range houses {
		total += <-count
	}
	t.Logf("%d kills over %d whole sessions", kills, total)
	if total < houses {
		t.Errorf("only %d sessions were whole", total)
	}
}

// killLeader waits until an operator leads, and for a random moment more, so
// that it is killed in the middle of its work and not of its waiting for it.
func killLeader(random *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	since := time.Now()
	if err := cluster.Until(ctx, func(ctx context.Context) error { return theCluster.Leads(ctx, since) }); err != nil {
		return err
	}
	<-time.After(time.Duration(random.Int64N(int64(4 * time.Second)))) // the random moment itself
	return cluster.Until(ctx, func(ctx context.Context) error {
		n, err := fault.KillOperator(ctx, theCluster)
		if err == nil && n == 0 {
			err = errors.New("no operator runs")
		}
		return err
	})
}

// surviving is one whole session while the operator dies at any time.
func (s *scene) surviving(before likeness, random *rand.Rand) (ok bool) {
	script := fmt.Sprintf("echo up; sleep %.1f; exit 7", 4*random.Float64())
	r, err := s.dev.Understudy("exec", "-t", "deployment/web", "--copy-target", "--scale-down", "--lease", "60s", "--", "sh", "-c", script)
	if err != nil {
		s.Error(err)
		return false
	}
	defer r.Kill()
	ctx, cancel := context.WithTimeout(s.ctx, 4*time.Minute)
	defer cancel()
	code, err := r.Exit(ctx)
	if err == nil && code != 7 {
		err = fmt.Errorf("the exit code is %d", code)
	}
	if err != nil {
		s.Errorf("%v\n%s", err, r)
		return false
	}
	return s.asBefore(ctx, before)
}
