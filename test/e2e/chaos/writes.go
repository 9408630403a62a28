package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/fault"
)

// The moments at which an operator is killed at a write. Between two writes
// nothing changes that outlives it: these are all of a session's steps.
var moments = []struct {
	name string
	done bool
}{
	{"SIGKILL of the operator before the write", false},
	{"SIGKILL of the operator between the write's success and its reply", true},
}

// springsWithin bounds how long a session that ends goes on to write.
const springsWithin = 30 * time.Second

// playWrites plays two sessions undisturbed, to see what the operator writes in each
// (one may try a write anew that met a conflict), and then one for each of these
// writes and moments, in which it is killed there.
func playWrites(ctx context.Context, rest bool, bound time.Time) (err error) {
	var seen []result
	if err := load("writes.json", &seen); err != nil {
		return err
	}
	s, leave, err := set(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	var writes []fault.Write
	for i := range 2 {
		only := fault.NewTrap(s.namespace, fault.Write{}, false, nil)
		r, err := s.trial(ctx, kase{name: "nothing", outside: true, strike: nothing, with: trapped(only)}, "all writes", 0)
		if err != nil || !r.good() {
			return errors.Join(err, fmt.Errorf("a session without a fault: %s", r.Problem))
		}
		made := only.Seen()
		if i > 0 {
			made = slices.DeleteFunc(made, func(w fault.Write) bool { return !slices.Contains(writes, w) })
		}
		writes = made
	}
	// What an earlier build wrote, and this one does not.
	seen = slices.DeleteFunc(seen, func(r result) bool {
		return !slices.ContainsFunc(writes, func(w fault.Write) bool { return w.String() == r.Phase })
	})
	fmt.Fprintf(os.Stderr, "the operator's writes in a session: %v\n", writes)
	wrong := 0
	for _, m := range moments {
		for _, w := range writes {
			if time.Now().After(bound) || ctx.Err() != nil {
				return errors.Join(context.Cause(ctx), errors.New("not all writes were played; the others with REST=yes"))
			}
			same := func(r result) bool { return r.Fault == m.name && r.Phase == w.String() }
			if i := slices.IndexFunc(seen, same); rest && i >= 0 && seen[i].good() {
				continue
			}
			r, err := s.playWrite(ctx, m.name, m.done, w)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", m.name, w, err)
			}
			seen = slices.DeleteFunc(seen, same)
			switch {
			case r.missed():
				// It comes now and then: there is nothing to be said of it.
			case !r.good():
				wrong++
				fallthrough
			default:
				seen = append(seen, r)
			}
			if err := store("writes.json", seen); err != nil {
				return err
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d sessions did not end as they must", wrong)
	}
	return nil
}

// playWrite plays a session in which the operator is killed at one write. One that is
// tried anew after a conflict does not come in every session.
func (s *stage) playWrite(ctx context.Context, name string, done bool, w fault.Write) (r result, err error) {
	for range writeTries {
		trap := fault.NewTrap(s.namespace, w, done, func() { s.outside.Crash() })
		r, err = s.trial(ctx, kase{name: name, outside: true, strike: nothing, with: trapped(trap), heal: springs(trap)}, w.String(), 0)
		if err != nil || !r.missed() {
			return r, err
		}
	}
	return r, nil
}

// writeTries is in how many sessions a write is waited for.
const writeTries = 3

// trapped sets a trap before a session begins.
func trapped(t *fault.Trap) func(context.Context, *stage) (func() error, error) {
	return func(_ context.Context, s *stage) (func() error, error) {
		proxy := s.outside.Proxy
		proxy.SetTrap(t)
		return func() error { proxy.SetTrap(nil); return nil }, nil
	}
}

// springs waits until the trap has sprung: else nothing was proved.
func springs(t *fault.Trap) func(context.Context, *stage, *developer.Run) error {
	return func(ctx context.Context, _ *stage, _ *developer.Run) error {
		ctx, cancel := context.WithTimeout(ctx, springsWithin)
		defer cancel()
		select {
		case <-t.Sprung():
			return nil
		case <-ctx.Done():
			return fault.ErrNoFault
		}
	}
}

// writeRows are the table of them.
func writeRows(line func(string, ...any), all []result) {
	line("## The operator killed at each of its writes, on the real cluster\n")
	if len(all) == 0 {
		line("None was played.\n")
		return
	}
	line("The same sessions, and an operator that is killed by the proxy before it, at one write in the session's namespace: before the API server hears of it, or when it was done and")
	line("the reply is on its way. It is started again a second later. Between two writes nothing changes that outlives an operator, so that these are the places between all of its steps.")
	line("Writes are in their order; a number in brackets is the how-manieth of its kind. What is written of Events is left out, and a write that came now and then, and in none of %d sessions.\n", writeTries)
	line("| write | killed | right | seconds | left over | messages lost | seen on |\n|---|---|---|---|---|---|---|")
	for _, r := range all {
		line("| %s | %s | %s |", r.Phase, r.Fault[len("SIGKILL of the operator "):], r.cells())
	}
	line("")
}
