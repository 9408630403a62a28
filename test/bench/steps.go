package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
)

// steps is when each condition of a session became True, counted from the command.
type steps map[string]*sample

// moment at which a session came to a condition.
type moment struct {
	condition string
	at        time.Time
}

// followSteps follows the sessions of the namespace from now until ctx is done, and
// tells of each condition once.
func (b *bench) followSteps(ctx context.Context) (<-chan moment, error) {
	states, err := b.cluster.FollowSessions(ctx, b.namespace)
	if err != nil {
		return nil, err
	}
	reached := make(chan moment, 16)
	go func() {
		seen := map[string]bool{}
		for s := range states {
			for _, c := range s.Status.Conditions {
				if !seen[c.Type] && meta.IsStatusConditionTrue(s.Status.Conditions, c.Type) {
					seen[c.Type] = true
					reached <- moment{c.Type, time.Now()}
				}
			}
		}
	}()
	return reached, nil
}

// add takes what was reached until now.
func (s steps) add(reached <-chan moment, asked time.Time) {
	for len(reached) > 0 {
		m := <-reached
		if s[m.condition] == nil {
			s[m.condition] = &sample{}
		}
		s[m.condition].times(m.at.Sub(asked))
	}
}

// of names the medians of some conditions, in that order, each with a comma.
func (s steps) of(conditions ...string) string {
	var said strings.Builder
	for _, c := range conditions {
		if at := s[c]; at != nil {
			fmt.Fprintf(&said, " %s %s,", c, seconds.of(at.median()))
		}
	}
	return said.String()
}
