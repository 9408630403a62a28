package tunnel

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"understudy.dev/understudy/operator/tunnel/replay"
)

// Target opens one raw connection to the agent and says which key the agent
// there must have: the fingerprint as in the Session's status, lower-case hex
// of the SHA-256 of the PKIX public key. It is called for every connection
// anew, as the stand-in may have been made again with another key.
type Target func(ctx context.Context) (conn net.Conn, fingerprint string, err error)

// ClientConfig is all that the owner's end needs.
type ClientConfig struct {
	// Target is required.
	Target Target
	// Key is the owner's private key (ECDSA P-256 or Ed25519). Required.
	Key crypto.Signer
	// Session is the UID of the Session; the agent refuses another's.
	Session string
	// OnLink is called when the raw connection is up (nil error) or down, with
	// the reason, and after each failed attempt to bring it up. It must not
	// wait for the tunnel. Default: none.
	OnLink func(up bool, err error)
	// OnRestart is called when the agent is a new one, or has forgotten this
	// owner: all streams and listeners have ended, the welcome is a new one,
	// and listeners must be opened again. One call at a time. Default: none.
	OnRestart func(Welcome)
	// PingEvery of silence the other end is asked for a sign of life. Default 1 s.
	PingEvery time.Duration
	// DeadAfter of silence the raw connection is given up. Default 5 s.
	DeadAfter time.Duration
	// Log is for what no caller is told. Default: discarded.
	Log *slog.Logger
}

// Connect reaches the agent, proves both ends' keys and reads the welcome. It
// tries until ctx is done, but for what trying again cannot mend (another
// version, another key, another session). The tunnel then lives until Close;
// ctx is for connecting only.
func Connect(ctx context.Context, config ClientConfig) (*Client, error) {
	if config.OnLink == nil {
		config.OnLink = func(bool, error) {}
	}
	if config.OnRestart == nil {
		config.OnRestart = func(Welcome) {}
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	own, err := selfSigned(config.Key)
	if err != nil {
		return nil, err
	}
	c := &Client{
		config:  config,
		own:     own,
		changed: make(chan struct{}),
		events:  make(chan Event, 1),
		done:    make(chan struct{}),
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	first, err := c.establish(ctx, true)
	if err != nil {
		c.end(err)
		return nil, fmt.Errorf("connecting to the agent: %w", err)
	}
	c.adopt(first)
	go c.run(first)
	return c, nil
}

// Client is the owner's end of a tunnel. All methods may be used at the same
// time. While the raw connection is down they wait for it, within their ctx.
type Client struct {
	config ClientConfig
	own    tls.Certificate

	// life ends with Close, or with what cannot be mended.
	life context.Context
	end  context.CancelCauseFunc
	done chan struct{}

	telling sync.Mutex // one OnRestart at a time

	mu      sync.Mutex
	current *incarnation
	changed chan struct{} // closed and replaced when current changes
	welcome Welcome
	heard   time.Time
	// answered is when that was sent which the last agent has answered.
	answered time.Time
	posted   bool // events is closed
	events   chan Event
}

// final says whether trying again cannot mend err. While a session lasts an
// unexpected key can be a stand-in that was made anew and whose fingerprint is
// not yet known here, so that only counts at first.
func final(err error, first bool) bool {
	if _, ok := errors.AsType[*VersionError](err); ok {
		return true
	}
	return errors.Is(err, ErrSuperseded) || first && (errors.Is(err, ErrIdentity) || errors.Is(err, ErrSession))
}

// backoff waits before attempt n (from 0), longer each time up to 2 s.
func backoff(ctx context.Context, n int) error {
	timer := time.NewTimer(min(50*time.Millisecond<<min(n, 6), 2*time.Second))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// establish makes a new link until one attempt succeeds.
func (c *Client) establish(ctx context.Context, first bool) (*incarnation, error) {
	for n := 0; ; n++ {
		next, err := c.greet(ctx)
		if err == nil {
			c.config.OnLink(true, nil)
			return next, nil
		}
		c.config.OnLink(false, err)
		if final(err, first) {
			return nil, err
		}
		if backoff(ctx, n) != nil {
			return nil, err
		}
	}
}

// run keeps the tunnel up until life ends.
func (c *Client) run(now *incarnation) {
	defer close(c.done)
	defer c.closeEvents()
	for {
		select {
		case <-c.life.Done():
			now.link.Close(replay.ReasonBye)
			c.drop(now)
			now.session.Wait()
			return
		case err := <-now.down:
			c.redial(now, err)
		case <-now.session.Done():
			err := now.session.Err()
			c.drop(now)
			if final(err, false) {
				c.end(err)
				return
			}
			c.config.OnLink(false, err)
			next, err := c.establish(c.life, false)
			if err != nil {
				c.end(err)
				return
			}
			now = next
			c.adopt(now)
			go c.restarted(now.welcome)
		}
	}
}

// restarted tells the owner, not on run's time: what the owner does then needs
// run to keep the link up.
func (c *Client) restarted(welcome Welcome) {
	c.telling.Lock()
	defer c.telling.Unlock()
	c.config.OnRestart(welcome)
}

// adopt makes next the one that is used.
func (c *Client) adopt(next *incarnation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.welcome = next, next.welcome
	close(c.changed)
	c.changed = make(chan struct{})
	select {
	case <-c.events: // what the last agent said is in the past
	default:
	}
	go c.follow(next)
}

func (c *Client) drop(last *incarnation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = last.link.LastHeard()
	c.answered = time.Now().Add(-last.link.Unanswered())
	c.current = nil
}

// await returns the agent of now, or waits for the next.
func (c *Client) await(ctx context.Context) (*incarnation, error) {
	for {
		c.mu.Lock()
		now, changed := c.current, c.changed
		c.mu.Unlock()
		if c.life.Err() != nil {
			return nil, c.Err()
		}
		if now != nil {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-c.life.Done():
		}
	}
}

// Welcome is what the agent said last.
func (c *Client) Welcome() Welcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome
}

// LastHeard is when the last byte of the agent arrived, by the clock on the
// wall: time.Since of it counts what a laptop has slept, too.
func (c *Client) LastHeard() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		return c.current.link.LastHeard()
	}
	return c.heard
}

// Unanswered is how long ago that was sent which the agent has answered last: the
// agent's own count of this end's silence is not longer. What a laptop has slept
// counts.
func (c *Client) Unanswered() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		return c.current.link.Unanswered()
	}
	now := time.Now()
	return max(now.Sub(c.answered), now.Round(0).Sub(c.answered))
}

// Close says bye to the agent, which then closes all that it holds for this
// owner, and ends the tunnel.
func (c *Client) Close() error {
	c.end(ErrClosed)
	<-c.done
	return nil
}

// Done is closed when the tunnel has ended for good.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why it ended: nil before that, ErrClosed after Close.
func (c *Client) Err() error { return context.Cause(c.life) }
