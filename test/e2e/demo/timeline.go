package main

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
)

// timeline notes, by this machine's clock, when each condition of a session
// became True for the first time.
type timeline struct {
	mu    sync.Mutex
	begun time.Time
	seen  map[string]time.Duration
	wait  string
}

// follow starts before the session is there.
func follow(ctx context.Context, c *cluster.Cluster, namespace string) (*timeline, error) {
	states, err := c.FollowSessions(ctx, namespace)
	if err != nil {
		return nil, err
	}
	t := &timeline{begun: time.Now(), seen: map[string]time.Duration{}}
	go func() {
		for s := range states {
			t.note(s)
		}
	}()
	return t, nil
}

func (t *timeline) note(s understudy.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range s.Status.Conditions {
		if _, known := t.seen[c.Type]; !known && meta.IsStatusConditionTrue(s.Status.Conditions, c.Type) {
			t.seen[c.Type] = time.Since(t.begun)
		}
		if c.Type == understudy.ConditionReady {
			t.wait = c.Message
		}
	}
}

// at is when the condition became True, or 0.
func (t *timeline) at(condition string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen[condition]
}

// waiting is what the session itself says that it is waiting for.
func (t *timeline) waiting() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wait
}
