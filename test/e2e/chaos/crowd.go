package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"understudy.dev/understudy/test/e2e/fault"
)

// crowd plays sessions side by side, each on a stage of its own with a fault, a phase
// and a moment that are drawn, while storms go over all of them.
type crowd struct {
	seed    uint64
	bound   time.Time
	calm    sync.RWMutex
	outside *fault.Outside

	mu  sync.Mutex
	all atRandom
}

// sideBySide is how many sessions there are at once.
const sideBySide = 12

// playAtRandom plays that many sessions. Whoever draws with the same seed draws the
// same; what meets what is up to the cluster.
func playAtRandom(ctx context.Context, pattern string, seed uint64, sessions int, bound time.Time) (err error) {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("reading the pattern: %w", err)
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	fmt.Fprintf(os.Stderr, "seed %d; again with: make chaos ONLY=cluster-random SESSIONS=%d SEED=%d\n", seed, sessions, seed)
	drawn := slices.DeleteFunc(slices.Clone(cases), func(c kase) bool { return c.whole || c.outside || !wanted.MatchString(c.name) })
	if len(drawn) == 0 {
		return fmt.Errorf("no fault of a single session matches %q", pattern)
	}
	c := &crowd{seed: seed, bound: bound, all: atRandom{Seed: seed, Build: build(), Storms: map[string]int{}}}
	stages, leave, err := c.build(ctx, min(sideBySide, sessions))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	c.all.AtOnce = len(stages)
	if err := c.run(ctx, stages, sessions, drawn); err != nil {
		return err
	}
	if wrong := c.all.Sessions - c.all.Equal; wrong > 0 {
		said := filepath.Join(folder(), "_operator.log")
		return errors.Join(
			fmt.Errorf("%d of %d sessions did not end as they must; what the operators said is in %s", wrong, c.all.Sessions, said),
			os.WriteFile(said, []byte(c.outside.Said()), 0o600),
		)
	}
	return nil
}

// run plays on all stages until they have had their shares, with storms all the time.
func (c *crowd) run(ctx context.Context, stages []*stage, sessions int, drawn []kase) error {
	group, ctx := errgroup.WithContext(ctx)
	stormy, clear := context.WithCancel(ctx)
	defer clear()
	group.Go(func() error { return c.storms(stormy, stages[0]) })
	group.Go(func() error {
		defer clear()
		plays, ctx := errgroup.WithContext(ctx)
		for i, s := range stages {
			share := sessions / len(stages)
			if i < sessions%len(stages) {
				share++
			}
			plays.Go(func() error { return c.play(ctx, s, i, share, drawn) })
		}
		return plays.Wait()
	})
	return group.Wait()
}

// build makes the stages, and puts an operator outside of the cluster in the place of
// the installed one.
func (c *crowd) build(ctx context.Context, n int) (stages []*stage, leave func() error, err error) {
	leaves := []func() error{}
	leave = func() error {
		var failures []error
		for _, each := range slices.Backward(leaves) {
			failures = append(failures, each())
		}
		return errors.Join(failures...)
	}
	for range n {
		s, each, err := set(ctx)
		if err != nil {
			return nil, nil, errors.Join(err, leave())
		}
		s.calm = &c.calm
		leaves, stages = append(leaves, each), append(stages, s)
	}
	if c.outside, err = fault.NewOutside(ctx, stages[0].cluster); err == nil {
		leaves = append(leaves, func() error { return c.outside.Close(context.WithoutCancel(ctx)) })
		err = c.outside.Start(ctx, filepath.Join(os.Getenv("E2E_BIN"), "understudy-operator"))
	}
	if err != nil {
		return nil, nil, errors.Join(err, leave())
	}
	return stages, leave, nil
}

// play plays one stage's share of the sessions. Who is turned away, as where no
// operator answers in a storm, has had none; the workload has to be as it was all the
// same.
func (c *crowd) play(ctx context.Context, s *stage, place, share int, drawn []kase) error {
	random := rand.New(rand.NewPCG(c.seed, uint64(place)+1))
	for played := 0; played < share; {
		k := drawn[random.IntN(len(drawn))]
		phase := k.phases[random.IntN(len(k.phases))]
		lag := time.Duration(random.Int64N(int64(lease / 3)))
		if k.after > 0 {
			k.after = time.Duration(random.Int64N(int64(k.after)))
		}
		if time.Now().After(c.bound) || ctx.Err() != nil {
			return nil
		}
		r, err := s.trial(ctx, k, phase, lag)
		turnedAway := errors.Is(err, errTurnedAway)
		switch {
		case turnedAway:
			s.judge(ctx, &r, time.Now())
		case err != nil:
			return fmt.Errorf("%s in %s, %s after %s: %w", k.name, s.namespace, phase, lag, err)
		}
		if !turnedAway || !r.good() {
			played++
		}
		if err := c.count(r, turnedAway); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) count(r result, turnedAway bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if turnedAway && r.good() {
		c.all.TurnedAway++
		return store("cluster-random.json", c.all)
	}
	c.all.Sessions++
	c.all.Lost += r.Lost
	c.all.Slowest = max(c.all.Slowest, r.Seconds)
	// Of one that is missed a storm was faster: nothing was left for its own fault.
	if r.good() || r.missed() {
		c.all.Equal++
	}
	return store("cluster-random.json", c.all)
}
