package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"understudy.dev/understudy/operator/tunnel/mux"
)

// open opens a stream and reads its reply into answer.
func (i *incarnation) open(ctx context.Context, kind Kind, body, answer any) (*mux.Stream, error) {
	header, err := encodeHeader(kind, body)
	if err != nil {
		return nil, err
	}
	stream, reply, err := i.session.Open(ctx, header)
	if err != nil {
		return nil, streamError(err)
	}
	if err := decodeReply(reply, answer); err != nil {
		stream.Close()
		return nil, err
	}
	return stream, nil
}

func (c *Client) open(ctx context.Context, kind Kind, body, answer any) (*mux.Stream, error) {
	now, err := c.await(ctx)
	if err != nil {
		return nil, err
	}
	return now.open(ctx, kind, body, answer)
}

// DialTCP connects from the pod's network. The error is ErrRefused,
// ErrUnreachable, ErrTimeout, ErrClosed or another, tested with errors.Is.
func (c *Client) DialTCP(ctx context.Context, to netip.AddrPort) (Conn, error) {
	var from dialled
	stream, err := c.open(ctx, kindTCP, dial{To: to}, &from)
	if err != nil {
		return nil, fmt.Errorf("dialling %s from the pod: %w", to, err)
	}
	return &tcpConn{stream: stream, local: from.From, remote: to}, nil
}

// DialUDP opens a flow from the pod's network: each Write is one datagram, and
// so is each Read; what does not fit into the reader's buffer is cut off. Read
// gives ErrRefused when nobody listens there, io.EOF after the agent has seen
// no traffic for its idle time.
func (c *Client) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	stream, err := c.open(ctx, kindUDP, dial{To: to}, nil)
	if err != nil {
		return nil, fmt.Errorf("opening a flow to %s from the pod: %w", to, err)
	}
	return &flow{stream: stream, remote: to}, nil
}

// Tree is the content of one mount at one moment.
type Tree struct {
	// Version as in Mount.Version.
	Version string
	// Files with paths relative to the mount, symbolic links resolved. A mount
	// of a single file has one, with the path ".".
	Files []File
}

// changes of a mount's content while it is read, before reading it is given up.
const changes = 5

// ReadTree reads all files of one mount of the welcome: a consistent state,
// never half of one version and half of another. The error is ErrNotFound,
// ErrTooLarge, ErrChanging, ErrClosed or another.
func (c *Client) ReadTree(ctx context.Context, mount string) (Tree, error) {
	for n := 0; ; n++ {
		tree, err := c.readTree(ctx, mount)
		if err == nil {
			return tree, nil
		}
		if !errors.Is(err, ErrChanging) || n == changes || backoff(ctx, n) != nil {
			return Tree{}, fmt.Errorf("reading %s of the pod: %w", mount, err)
		}
	}
}

func (c *Client) readTree(ctx context.Context, mount string) (Tree, error) {
	stream, err := c.open(ctx, kindTree, readTree{Mount: mount}, nil)
	if err != nil {
		return Tree{}, err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Reset(mux.CodeCanceled) })()
	tree, err := readFiles(stream)
	if err != nil && ctx.Err() != nil {
		return Tree{}, context.Cause(ctx)
	}
	if _, lost := errors.AsType[*mux.ResetError](err); lost || stream.Err() != nil {
		return Tree{}, streamError(err)
	}
	return tree, err
}

// SetReady says whether the session takes traffic, and returns when the agent
// knows it. A new agent begins with false.
func (c *Client) SetReady(ctx context.Context, value bool) error {
	stream, err := c.open(ctx, kindReady, ready{Ready: value}, nil)
	if err != nil {
		return fmt.Errorf("telling the agent whether the session is ready: %w", err)
	}
	return stream.Close()
}

// End says that nothing of the owner's uses the pod any more, and returns when the
// agent knows it. What the agent has taken it gives back then, without waiting
// to be asked by the cluster.
func (c *Client) End(ctx context.Context) error {
	stream, err := c.open(ctx, kindEnd, struct{}{}, nil)
	if err != nil {
		return fmt.Errorf("telling the agent that it is over: %w", err)
	}
	return stream.Close()
}

// Event says what changed in the pod: each field is the whole new list, or nil
// where nothing changed.
type Event struct {
	LoopbackPorts []Endpoint `json:"loopbackPorts"`
	Mounts        []Mount    `json:"mounts"`
}

// Events are the changes, until the tunnel ends and closes the channel. Where
// nobody reads for a while only the last state of each list is kept.
func (c *Client) Events() <-chan Event { return c.events }

// follow reads one agent's events.
func (c *Client) follow(now *incarnation) {
	for {
		kind, body, err := readMessage(now.control)
		if err != nil {
			// An agent that ends the control stream alone is of no use.
			if errors.Is(err, io.EOF) {
				err = ErrClosed
			}
			now.link.Fail(fmt.Errorf("reading the agent's events: %w", err))
			return
		}
		var event Event
		if kind != messageEvent {
			now.link.Fail(fmt.Errorf("message of type %d among the events: %w", kind, ErrProtocol))
			return
		}
		if err := json.Unmarshal(body, &event); err != nil {
			now.link.Fail(fmt.Errorf("decoding an event: %w: %w", ErrProtocol, err))
			return
		}
		c.post(event)
	}
}

// post keeps one event waiting at most, with the last state of each list.
func (c *Client) post(event Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.posted {
		return
	}
	select {
	case waiting := <-c.events:
		if event.LoopbackPorts == nil {
			event.LoopbackPorts = waiting.LoopbackPorts
		}
		if event.Mounts == nil {
			event.Mounts = waiting.Mounts
		}
	default:
	}
	c.events <- event
}

func (c *Client) closeEvents() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posted = true
	close(c.events)
}
