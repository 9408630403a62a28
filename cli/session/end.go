package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

const (
	// deleteTry is how long one attempt to delete a Session may take.
	deleteTry = 5 * time.Second
	// leaveAfter is how long somebody who leaves at once is kept waiting for the
	// deletion to be sent: without it the cluster would wait for the lease.
	leaveAfter = time.Second
	// endPatience is how long no news of a Session that ends are waited for:
	// longer than the operator needs to come back.
	endPatience = 2 * time.Minute
)

// ErrNoNews: nothing was heard of the Session for so long that waiting makes
// no sense.
var ErrNoNews = errors.New("no answer from the cluster")

// End deletes the Session that f follows and waits until it is gone, which is
// when the operator has undone everything. It tries until ctx is done, or until
// there were no news for two minutes (ErrNoNews); waits is told what it waits
// for meanwhile. The last state seen comes back also with an error.
func (c *Client) End(ctx context.Context, f *Follower, waits func(string)) (State, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(endPatience, func() { cancel(ErrNoNews) })
	defer patience.Stop()

	pause := retryFirst
	for {
		state, _ := f.State()
		if state.Gone {
			return state, nil
		}
		err := c.delete(ctx, f)
		if err == nil {
			break
		}
		waits(err.Error())
		select {
		case <-ctx.Done():
			return state, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pause):
		}
		pause = min(2*pause, retryMost)
	}
	version := ""
	for {
		state, changed := f.State()
		if now := state.Session.ResourceVersion; now != version {
			version = now
			patience.Reset(endPatience)
		}
		switch {
		case state.Gone:
			return state, nil
		case state.Unreachable != nil:
			waits(fmt.Sprintf("the API server cannot be reached (%v)", state.Unreachable))
		default:
			waits(state.Message(v1alpha1.ConditionRestored))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return state, context.Cause(ctx)
		}
	}
}

func (c *Client) delete(ctx context.Context, f *Follower) error {
	hurry := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTry)
	defer cancel()
	stop := context.AfterFunc(hurry, func() { time.AfterFunc(leaveAfter, cancel) })
	defer stop()
	answers := make(chan error, 1)
	go func() { // a credential plugin that waits for its user does not heed ctx
		answers <- c.sessions.Delete(ctx, f.name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(f.uid))})
	}()
	var err error
	select {
	case err = <-answers:
	case <-ctx.Done():
		err = errSilent
	}
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		// A conflict is a Session of the same name and another UID.
		return nil
	}
	return fmt.Errorf("deleting session %s: %w", f.name, short(err))
}
