package session

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
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

// stops end watches, one of a session each.
type stops map[types.NamespacedName]context.CancelFunc

// stop ends a session's.
func (s stops) stop(key types.NamespacedName) {
	if stop := s[key]; stop != nil {
		stop()
		delete(s, key)
	}
}

// begin has a session's watch of a set run, unless it does.
func (l *lifetime) begin(of *stops, key types.NamespacedName, run func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if (*of)[key] != nil || !l.open() {
		return
	}
	ctx, stop := context.WithCancel(l.base)
	if *of == nil {
		*of = stops{}
	}
	(*of)[key] = stop
	l.group.Go(func() { run(ctx) })
}

// keepOpen keeps a watch open until ctx ends. What is watched may have changed while it
// was not, so opened is called each time that it opens.
func keepOpen(ctx context.Context, open func() (watch.Interface, error), opened func(), each func(watch.Event)) {
	for ctx.Err() == nil {
		if watching, err := open(); err == nil {
			opened()
			for event := range watching.ResultChan() {
				each(event)
			}
			watching.Stop()
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}
