package tunnel

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"understudy.dev/understudy/operator/tunnel/mux"
	"understudy.dev/understudy/operator/tunnel/replay"
)

// incarnation is one agent that has greeted this owner, until either forgets
// the other.
type incarnation struct {
	link    *replay.Link
	session *mux.Session
	control *mux.Stream
	welcome Welcome
	down    chan error

	mu        sync.Mutex
	listeners map[uint32]*Listener
	listens   uint32 // number given last
}

// dial opens a raw connection and proves both ends' keys.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	raw, fingerprint, err := c.config.Target(ctx)
	if err != nil {
		return nil, fmt.Errorf("reaching the agent: %w", err)
	}
	conn, err := secure(ctx, raw, pinned(c.own, fingerprint))
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(handshakeTimeout))
	return conn, nil
}

// greet makes one attempt at a new link, up to the welcome.
func (c *Client) greet(ctx context.Context) (*incarnation, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*handshakeTimeout, ErrTimeout)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	var id replay.ID
	rand.Read(id[:])
	next := &incarnation{down: make(chan error, 1), listeners: map[uint32]*Listener{}}
	next.link = replay.New(id, replay.Config{
		PingEvery: c.config.PingEvery,
		DeadAfter: c.config.DeadAfter,
		Down: func(err error) {
			select {
			case next.down <- err:
			default:
			}
		},
	})
	if err := next.link.Dial(conn, replay.OpNew); err != nil {
		next.link.Fail(err)
		return nil, refusal(err)
	}
	next.session = mux.New(next.link, mux.Config{
		Odd:        true,
		Window:     256 << 10,
		MaxWindow:  4 << 20,
		Budget:     256 << 20,
		MaxStreams: MaxStreams,
		Accept:     next.accept,
	})
	next.session.Start()
	if err := next.hello(ctx, c.config.Session); err != nil {
		next.link.Fail(err)
		return nil, err
	}
	return next, nil
}

// hello opens the control stream and reads the welcome. A connection that
// breaks meanwhile is an error: nothing is lost yet by beginning anew.
func (i *incarnation) hello(ctx context.Context, session string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answered, watched := make(chan struct{}), make(chan struct{})
	defer func() {
		close(answered)
		<-watched
	}()
	go func() {
		defer close(watched)
		select {
		case err := <-i.down:
			cancel(err)
			i.link.Fail(err)
		case <-ctx.Done():
			i.link.Fail(context.Cause(ctx))
		case <-answered:
		}
	}()
	header, err := encodeHeader(kindControl, hello{Session: session})
	if err != nil {
		return err
	}
	stream, reply, err := i.session.Open(ctx, header)
	if err != nil {
		return fmt.Errorf("greeting the agent: %w", err)
	}
	if err := decodeReply(reply, nil); err != nil {
		return fmt.Errorf("greeting the agent: %w", err)
	}
	kind, body, err := readMessage(stream)
	if err != nil {
		return fmt.Errorf("reading the agent's welcome: %w", err)
	}
	if kind != messageWelcome {
		return fmt.Errorf("message of type %d before the welcome: %w", kind, ErrProtocol)
	}
	if err := json.Unmarshal(body, &i.welcome); err != nil {
		return fmt.Errorf("decoding the agent's welcome: %w: %w", ErrProtocol, err)
	}
	i.control = stream
	return nil
}

// redial gives the link new raw connections until one is taken, or the link or
// the tunnel has ended.
func (c *Client) redial(now *incarnation, reason error) {
	ctx, cancel := context.WithCancelCause(c.life)
	defer cancel(nil)
	go func() {
		select {
		case <-now.link.Done():
			cancel(now.link.Err())
		case <-ctx.Done():
		}
	}()
	for n := 0; !now.link.Up(); n++ {
		c.config.OnLink(false, reason)
		err := c.resume(ctx, now)
		if err == nil {
			c.config.OnLink(true, nil)
			return
		}
		reason = err
		if errors.Is(err, replay.ErrUnknown) || final(err, false) {
			now.link.Fail(err)
		}
		if backoff(ctx, n) != nil {
			return
		}
	}
}

func (c *Client) resume(ctx context.Context, now *incarnation) error {
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTimeout, ErrTimeout)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	return refusal(now.link.Dial(conn, replay.OpResume))
}
