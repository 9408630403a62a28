package session

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

const (
	// renewShare is how many renewals are sent in the time of one lease.
	renewShare = 6
	// renewMost is the longest pause between renewals, however long the lease.
	renewMost = 10 * time.Second
	// renewRetry is the pause after one that failed.
	renewRetry = 250 * time.Millisecond
)

// Renewer keeps a session's Lease renewed, and counts how long that has not
// succeeded.
type Renewer struct {
	leases coordinationv1.LeaseInterface
	name   string
	holder string
	lease  time.Duration
	notify func(ok bool, err error)

	mu      sync.Mutex
	sent    time.Duration // when the last renewal that succeeded was sent, by now()
	started bool
	failing bool
}

// RenewerOptions are the optional parts of a Renewer.
type RenewerOptions struct {
	// Notify is told when renewals begin to fail, and when they succeed again
	// (then with a nil error). Default: nobody.
	Notify func(ok bool, err error)
}

// Renew makes a Renewer of the Lease of a session's name. The holder is for
// other people to read.
func (c *Client) Renew(name, holder string, lease time.Duration, opts RenewerOptions) *Renewer {
	if opts.Notify == nil {
		opts.Notify = func(bool, error) {}
	}
	return &Renewer{
		leases: c.steady.CoordinationV1().Leases(c.Namespace),
		name:   name, holder: holder, lease: lease, notify: opts.Notify, sent: sinceBoot(),
	}
}

// Silence is how long ago the last renewal that succeeded was sent: as long as
// the operator may have heard nothing, or longer, never shorter. Time in which
// the machine was asleep counts. Before the first one there is none: nothing
// runs yet that must not outlive the lease.
func (r *Renewer) Silence() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.started {
		return 0
	}
	return sinceBoot() - r.sent
}

// Exhausted returns when there has been silence for that long, and nil; or
// ctx's error.
func (r *Renewer) Exhausted(ctx context.Context, silence time.Duration) error {
	return Exhausted(ctx, r.Silence, silence)
}

// Exhausted returns when somebody's silence has been that long, and nil; or ctx's
// error.
func Exhausted(ctx context.Context, silent func() time.Duration, silence time.Duration) error {
	for {
		left := silence - silent()
		if left <= 0 {
			return nil
		}
		// A timer stands still while the machine sleeps: look often.
		select {
		case <-time.After(min(left, renewRetry)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run renews until ctx is done. The Lease is made by the operator: until it is
// there, and the right to it, failures are no news.
func (r *Renewer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		sent := sinceBoot()
		err := r.renew(ctx)
		if ctx.Err() != nil {
			return
		}
		pause := min(r.lease/renewShare, renewMost)
		if err != nil {
			pause = min(pause, renewRetry)
		}
		r.note(sent, err)
		select {
		case <-time.After(pause - min(pause, sinceBoot()-sent)):
		case <-ctx.Done():
		}
	}
}

func (r *Renewer) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(r.lease/renewShare, time.Second))
	defer cancel()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{
		"holderIdentity": r.holder, "renewTime": metav1.NowMicro(),
	}})
	if err != nil {
		return fmt.Errorf("encoding a renewal: %w", err)
	}
	if _, err := r.leases.Patch(ctx, r.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "understudy"}); err != nil {
		return fmt.Errorf("renewing the lease: %w", short(err))
	}
	return nil
}

func (r *Renewer) note(sent time.Duration, err error) {
	r.mu.Lock()
	news := false
	switch {
	case err == nil:
		r.sent = sent
		news = r.failing
		r.started, r.failing = true, false
	case !r.started && (apierrors.IsNotFound(err) || apierrors.IsForbidden(err)):
	default:
		news = !r.failing
		r.failing = true
	}
	r.mu.Unlock()
	if news {
		r.notify(err == nil, err)
	}
}

// Cutoff says how long renewals may fail before the local process is asked to
// end, and before it is killed: so that it is gone before the lease is over,
// and with it before the remote workload comes back.
func Cutoff(lease time.Duration) (ask, kill time.Duration) {
	reserve := max(min(lease/20, 3*time.Second), 250*time.Millisecond)
	grace := min(lease/6, 10*time.Second)
	return lease - reserve - grace, lease - reserve
}
