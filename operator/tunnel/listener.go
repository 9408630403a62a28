package tunnel

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"understudy.dev/understudy/operator/tunnel/mux"
)

// listenBacklog of connections that nobody has accepted yet; more are reset.
const listenBacklog = 128

// listen is the body of a listen stream's header.
type listen struct {
	ListenRequest
	// Listen is the number that connections accepted there come with; the
	// owner's end counts.
	Listen uint32 `json:"listen"`
}

// Listener is one port open in the cluster.
type Listener struct {
	addr   netip.AddrPort
	owner  *incarnation
	number uint32
	stream *mux.Stream
	queue  chan arrival
	once   sync.Once
	done   chan struct{}
}

// arrival is a connection, or the flow of a UDP port's peer, that nobody has
// accepted yet.
type arrival struct {
	stream *mux.Stream
	accepted
}

// Listen opens a port in the cluster until the Listener is closed. The error
// is ErrForbidden, ErrInUse, ErrClosed or another.
func (c *Client) Listen(ctx context.Context, request ListenRequest) (*Listener, error) {
	now, err := c.await(ctx)
	if err != nil {
		return nil, err
	}
	l := &Listener{owner: now, queue: make(chan arrival, listenBacklog), done: make(chan struct{})}
	// Known before it is asked for, as a connection may come with the reply.
	now.mu.Lock()
	now.listens++
	l.number = now.listens
	now.listeners[l.number] = l
	now.mu.Unlock()
	var opened listening
	l.stream, err = now.open(ctx, kindListen, listen{ListenRequest: request, Listen: l.number}, &opened)
	if err != nil {
		l.forget()
		return nil, fmt.Errorf("opening port %d in the cluster: %w", request.Port, err)
	}
	l.addr = opened.Addr
	go func() {
		// Nothing is said on the stream: it ends when the port is closed.
		_, _ = io.Copy(discard{}, l.stream)
		l.forget()
	}()
	return l, nil
}

// forget ends Accept and resets what nobody has accepted.
func (l *Listener) forget() {
	l.once.Do(func() { close(l.done) })
	l.owner.mu.Lock()
	delete(l.owner.listeners, l.number)
	l.owner.mu.Unlock()
	for {
		select {
		case left := <-l.queue:
			left.stream.Reset(mux.CodeReset)
		default:
			return
		}
	}
}

// Accept waits for the next connection to a TCP port. The error is ErrClosed
// when the listener, or the agent that held it, is gone. The connection's
// RemoteAddr is the peer's, its LocalAddr the pod's.
func (l *Listener) Accept() (Conn, error) {
	next, err := l.next()
	if err != nil {
		return nil, err
	}
	return &tcpConn{stream: next.stream, local: next.Local, remote: next.Peer}, nil
}

// AcceptFlow waits for the next peer of a UDP port: each Read is a datagram of
// its, each Write one to it, until neither has come for the agent's idle time
// (io.EOF). Errors and addresses are those of Accept.
func (l *Listener) AcceptFlow() (net.Conn, error) {
	next, err := l.next()
	if err != nil {
		return nil, err
	}
	return &flow{stream: next.stream, local: next.Local, remote: next.Peer}, nil
}

func (l *Listener) next() (arrival, error) {
	select {
	case <-l.done:
		return arrival{}, ErrClosed
	default:
	}
	select {
	case next := <-l.queue:
		return next, nil
	case <-l.done:
		return arrival{}, ErrClosed
	}
}

// Addr is the port as the agent opened it; unspecified where it is open on all
// the pod's addresses.
func (l *Listener) Addr() netip.AddrPort { return l.addr }

// Close closes the port; connections already accepted live on.
func (l *Listener) Close() error {
	l.forget()
	return l.stream.Close()
}

// accept takes a stream that the agent opens: a connection to a listener.
func (i *incarnation) accept(stream *mux.Stream, header []byte) {
	kind, body, err := decodeHeader(header)
	var from accepted
	if err == nil && kind != kindAccepted {
		err = fmt.Errorf("stream of kind %d: %w", kind, ErrProtocol)
	}
	if err == nil {
		err = json.Unmarshal(body, &from)
	}
	if err == nil {
		err = i.deliver(stream, from)
	}
	if err != nil {
		_ = stream.Reply(failureReply(err))
		stream.Close()
	}
}

func (i *incarnation) deliver(stream *mux.Stream, from accepted) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	l := i.listeners[from.Listen]
	if l == nil {
		return ErrRefused
	}
	if len(l.queue) == cap(l.queue) {
		return ErrBusy
	}
	reply, err := encodeReply(statusOK, struct{}{})
	if err != nil {
		return err
	}
	if err := stream.Reply(reply); err != nil {
		return err
	}
	l.queue <- arrival{stream, from}
	return nil
}
