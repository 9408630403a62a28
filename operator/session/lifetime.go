package session

import (
	"context"
	"sync"
)

// lifetime is what a set of watches lives in: from when this operator leads to
// when the manager ends, which waits for all of them.
type lifetime struct {
	// mu guards the set as well.
	mu    sync.Mutex
	base  context.Context //nolint:containedctx // ends every watch; set once by Start
	group sync.WaitGroup
}

// NeedLeaderElection is asked by the manager.
func (l *lifetime) NeedLeaderElection() bool { return true }

// Start lets watches be opened until ctx ends, and waits for them to close.
func (l *lifetime) Start(ctx context.Context) error {
	l.mu.Lock()
	l.base = ctx
	l.mu.Unlock()
	<-ctx.Done()
	l.group.Wait()
	return nil
}

// open says whether a watch may be opened; mu is held.
func (l *lifetime) open() bool { return l.base != nil && l.base.Err() == nil }
