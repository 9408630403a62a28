package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

const (
	// readTry is how long one read of the Session may take.
	readTry = 5 * time.Second
	// watchFor is how long one watch lasts, so that one whose connection died
	// silently is not trusted for longer.
	watchFor = 20 * time.Second
	// retryFirst and retryMost are the pauses after reads that failed.
	retryFirst = 100 * time.Millisecond
	retryMost  = 2 * time.Second
	// shortMost is how many watches in a row may be shorter than retryMost without a
	// pause.
	shortMost = 3
)

// State is what is known of a Session.
type State struct {
	// Session as it was seen last; never nil, not to be changed.
	Session *v1alpha1.Session
	// Gone says that it is no more.
	Gone bool
	// Unreachable is why it cannot be looked at now, or nil.
	Unreachable error
	// Over is why it has ended, where whoever keeps it can say more than its
	// conditions do.
	Over error
}

// Follower keeps the newest state of one Session.
type Follower struct {
	client *Client
	name   string
	uid    types.UID
	again  chan struct{}

	mu      sync.Mutex
	state   State
	changed chan struct{}
}

// Follow begins with what is known of a Session; Run keeps it up to date.
func (c *Client) Follow(session *v1alpha1.Session) *Follower {
	return &Follower{
		client: c, name: session.Name, uid: session.UID,
		again: make(chan struct{}, 1), changed: make(chan struct{}),
		state: State{Session: session},
	}
}

// Local begins with a session that no API server has. Whoever keeps it tells what
// becomes of it; there is nothing to Run.
func Local(session *v1alpha1.Session) *Follower {
	return &Follower{
		name: session.Name, uid: session.UID, again: make(chan struct{}, 1), changed: make(chan struct{}),
		state: State{Session: session},
	}
}

// Tell changes the state of a session that no API server has. The Session in it is
// a copy, and may be changed.
func (f *Follower) Tell(change func(*State)) {
	f.set(func(s *State) {
		s.Session = s.Session.DeepCopy()
		change(s)
	})
}

// Asked is told that the state is wanted anew (Refresh).
func (f *Follower) Asked() <-chan struct{} { return f.again }

// State is the newest state, and a channel that is closed when there is a
// newer one.
func (f *Follower) State() (State, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, f.changed
}

// Wait returns the first state, the present one included, that is enough, or
// ctx's error.
func (f *Follower) Wait(ctx context.Context, enough func(State) bool) (State, error) {
	for {
		state, changed := f.State()
		if enough(state) {
			return state, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return state, context.Cause(ctx)
		}
	}
}

// Refresh has the Session read anew instead of waiting for the watch: for when
// the network was away.
func (f *Follower) Refresh() {
	select {
	case f.again <- struct{}{}:
	default:
	}
}

func (f *Follower) set(change func(*State)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.state)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Follower) see(session *v1alpha1.Session) {
	f.set(func(s *State) { s.Session, s.Unreachable = session, nil })
}

// Run follows until the Session is gone or ctx is done.
func (f *Follower) Run(ctx context.Context) {
	pause, short := retryFirst, 0
	for ctx.Err() == nil {
		began := time.Now()
		gone, err := f.look(ctx)
		switch {
		case gone:
			f.set(func(s *State) { s.Gone, s.Unreachable = true, nil })
			return
		case err == nil:
			// A server that has forgotten the version ends each watch at once.
			if short++; time.Since(began) > retryMost {
				short = 0
			}
			if pause = retryFirst; short < shortMost {
				continue
			}
			pause = retryMost
		case ctx.Err() != nil:
			return
		}
		f.set(func(s *State) { s.Unreachable = err })
		select {
		case <-ctx.Done():
		case <-f.again:
		case <-time.After(pause):
		}
		pause = min(2*pause, retryMost)
	}
}

// look reads the Session once and then watches it for a while.
func (f *Follower) look(ctx context.Context) (gone bool, err error) {
	reading, cancel := context.WithTimeout(ctx, readTry)
	session, err := f.client.sessions.Get(reading, f.name, metav1.GetOptions{})
	cancel()
	switch {
	case apierrors.IsNotFound(err), err == nil && session.UID != f.uid:
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading session %s: %w", f.name, short(err))
	}
	f.see(session)

	watching, cancel := context.WithTimeout(ctx, watchFor+readTry)
	defer cancel()
	seconds := int64(watchFor / time.Second)
	watcher, err := f.client.sessions.Watch(watching, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", f.name).String(),
		ResourceVersion: session.ResourceVersion,
		TimeoutSeconds:  &seconds,
	})
	if err != nil {
		return false, fmt.Errorf("watching session %s: %w", f.name, short(err))
	}
	defer watcher.Stop()
	for {
		select {
		case event, open := <-watcher.ResultChan():
			if !open {
				return false, nil
			}
			switch seen, ours := event.Object.(*v1alpha1.Session); {
			case event.Type == watch.Error:
				// Mostly a version that the server has forgotten: read anew.
				return false, nil
			case !ours || seen.UID != f.uid:
			case event.Type == watch.Deleted:
				f.see(seen)
				return true, nil
			default:
				f.see(seen)
			}
		case <-f.again:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// asStatus says whether the API server itself answered with err.
func asStatus(err error, status *apierrors.APIStatus) bool { return errors.As(err, status) }
