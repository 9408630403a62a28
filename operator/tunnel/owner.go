package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"understudy.dev/understudy/operator/tunnel/mux"
	"understudy.dev/understudy/operator/tunnel/replay"
)

// errLease: the owner was not heard of for the length of its lease.
var errLease = errors.New("the owner has not been heard of for the length of its lease")

// owner is one incarnation of the owner's end, as the agent serves it.
type owner struct {
	config  ServerConfig
	link    *replay.Link
	session *mux.Session
	ctx     context.Context
	cancel  context.CancelCauseFunc
	done    chan struct{}
	greeted atomic.Bool
	// opened holds a token for each stream that this end has opened.
	opened chan struct{}
	// flows holds one for each peer of a UDP port.
	flows chan struct{}
	// files holds one for each open file of the container.
	files chan struct{}
	// rest are the goroutines that are not a stream's own.
	rest sync.WaitGroup
}

// run serves until the link has ended, and returns when nothing that was open
// for this owner is open any more.
func (o *owner) run() {
	defer close(o.done)
	o.session = mux.New(o.link, o.muxConfig())
	o.session.Start()
	o.rest.Go(o.watchLease)
	<-o.session.Done()
	o.cancel(o.session.Err())
	o.session.Wait()
	o.rest.Wait()
	o.config.Handler.SetReady(false)
	o.config.Log.Info("owner gone", "reason", o.session.Err())
}

// end ends this owner and waits until it is gone.
func (o *owner) end(reason replay.Reason) {
	o.link.Close(reason)
	<-o.done
}

// watchLease counts by the agent's own clock since the last byte arrived.
func (o *owner) watchLease() {
	for {
		left := o.config.Lease - o.link.Silent()
		if left <= 0 {
			o.link.Fail(errLease)
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-o.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// accept serves one stream that the owner has opened.
func (o *owner) accept(stream *mux.Stream, header []byte) {
	ctx, cancel := context.WithCancelCause(o.ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-stream.Dead():
			cancel(stream.Err())
		case <-ctx.Done():
		}
	}()
	if err := o.serve(ctx, func() { cancel(nil) }, stream, header); err != nil {
		_ = stream.Reply(failureReply(err))
		stream.Close()
	}
}

// serve returns an error only where the stream has not been replied to. It may
// call unwatch when ctx is needed no more, which saves a goroutine.
func (o *owner) serve(ctx context.Context, unwatch func(), stream *mux.Stream, header []byte) error {
	kind, body, err := decodeHeader(header)
	if err != nil {
		return err
	}
	if (kind == kindControl) == o.greeted.Load() {
		return fmt.Errorf("stream of kind %d out of turn: %w", kind, ErrProtocol)
	}
	switch kind {
	case kindControl:
		return with(body, func(b hello) error { return o.serveControl(ctx, stream, b) })
	case kindTCP:
		return with(body, func(b dial) error { return o.serveTCP(ctx, unwatch, stream, b) })
	case kindUDP:
		return with(body, func(b dial) error { return o.serveUDP(ctx, stream, b) })
	case kindListen:
		return with(body, func(b listen) error { return o.serveListen(ctx, stream, b) })
	case kindTree:
		return with(body, func(b readTree) error { return o.serveTree(ctx, stream, b) })
	case kindLook, kindList, kindRead, kindSpace:
		return with(body, func(b lookAt) error { return o.serveFiles(ctx, kind, stream, b) })
	case kindChange:
		return with(body, func(b Change) error { return o.serveChange(ctx, stream, b) })
	case kindWrite:
		return with(body, func(b Writing) error { return o.serveWrite(ctx, stream, b) })
	case kindReady:
		return with(body, func(b ready) error { return o.serveReady(stream, b) })
	case kindEnd:
		return with(body, func(struct{}) error { return o.serveEnd(stream) })
	}
	return fmt.Errorf("stream of kind %d: %w", kind, ErrProtocol)
}

func with[T any](body json.RawMessage, serve func(T) error) error {
	var decoded T
	if err := json.Unmarshal(body, &decoded); err != nil {
		return fmt.Errorf("decoding a stream's header: %w: %w", ErrProtocol, err)
	}
	return serve(decoded)
}

func replyOK(stream *mux.Stream, body any) error {
	reply, err := encodeReply(statusOK, body)
	if err != nil {
		return err
	}
	return stream.Reply(reply)
}

func (o *owner) serveControl(ctx context.Context, stream *mux.Stream, said hello) error {
	if said.Session != o.config.Session {
		return fmt.Errorf("%w: %s, not %s", ErrSession, o.config.Session, said.Session)
	}
	welcome, err := o.config.Handler.Welcome(ctx)
	if err != nil {
		return err
	}
	if !o.greeted.CompareAndSwap(false, true) {
		return fmt.Errorf("a second hello: %w", ErrProtocol)
	}
	if err := replyOK(stream, struct{}{}); err != nil {
		return err
	}
	if err := writeMessage(stream, messageWelcome, welcome); err != nil {
		o.link.Fail(fmt.Errorf("sending the welcome: %w", err))
		return nil
	}
	err = o.config.Handler.Watch(ctx, func(event Event) error {
		return writeMessage(stream, messageEvent, event)
	})
	if ctx.Err() == nil {
		// Without it the owner would not learn of changes: begin anew.
		o.link.Fail(fmt.Errorf("watching the pod: %w", err))
	}
	return nil
}

func (o *owner) serveTCP(ctx context.Context, unwatch func(), stream *mux.Stream, to dial) error {
	conn, err := o.config.Handler.DialTCP(ctx, to.To)
	if err != nil {
		return err
	}
	unwatch()
	if err := replyOK(stream, dialled{From: addrPort(conn.LocalAddr())}); err != nil {
		reset(conn)
		return err
	}
	// In a goroutine of its own: a dial needs a deep stack, which would be kept
	// for as long as the connection lives.
	o.rest.Go(func() { join(stream, conn) })
	return nil
}

func (o *owner) serveUDP(ctx context.Context, stream *mux.Stream, to dial) error {
	conn, err := o.config.Handler.DialUDP(ctx, to.To)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := replyOK(stream, struct{}{}); err != nil {
		return err
	}
	joinFlow(ctx, stream, conn, o.config.FlowIdle)
	return nil
}

func (o *owner) serveTree(ctx context.Context, stream *mux.Stream, asked readTree) error {
	if err := replyOK(stream, struct{}{}); err != nil {
		return err
	}
	defer stream.Close()
	version, err := o.config.Handler.ReadTree(ctx, asked.Mount, func(file File) error {
		return writeFile(stream, file)
	})
	end := endRecord{Version: version, Status: statusOf(err)}
	if err != nil {
		end.Message = err.Error()
		end.Message = end.Message[:min(len(end.Message), maxRecord/8)]
	}
	// A stream that has failed is the owner's to see.
	_ = writeMessage(stream, recordEnd, end)
	return nil
}

func (o *owner) serveReady(stream *mux.Stream, said ready) error {
	o.config.Handler.SetReady(said.Ready)
	if err := replyOK(stream, struct{}{}); err != nil {
		return err
	}
	return stream.Close()
}

func (o *owner) serveEnd(stream *mux.Stream) error {
	if handler, ok := o.config.Handler.(EndHandler); ok {
		handler.End()
	}
	// Where the agent is faster to end than this, the link's end says the same.
	if err := replyOK(stream, struct{}{}); err != nil {
		return err
	}
	return stream.Close()
}

// serveListen holds a port open while the stream lives.
func (o *owner) serveListen(ctx context.Context, stream *mux.Stream, asked listen) error {
	if len(asked.Addrs) > MaxListenAddrs {
		return fmt.Errorf("a port at %d addresses: %w", len(asked.Addrs), ErrTooLarge)
	}
	if asked.Network == "udp" {
		return o.serveListenUDP(ctx, stream, asked)
	}
	listener, err := o.config.Handler.Listen(ctx, asked.ListenRequest)
	if err != nil {
		return err
	}
	defer stream.Close()
	defer listener.Close()
	if err := replyOK(stream, listening{Addr: addrPort(listener.Addr())}); err != nil {
		return err
	}
	go func() {
		// Nothing is said on the stream: it ends when the port is to be closed.
		_, _ = stream.WriteTo(discard{})
		listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if err == nil {
			o.rest.Go(func() { o.forward(conn, asked.Listen) })
			continue
		}
		if statusOf(err) == statusBusy && backoff(ctx, 1) == nil {
			continue
		}
		return nil
	}
}

// forward hands a connection that came in to the owner.
func (o *owner) forward(conn net.Conn, number uint32) {
	select {
	case o.opened <- struct{}{}:
		defer func() { <-o.opened }()
	default:
		reset(conn)
		return
	}
	header, err := encodeHeader(kindAccepted, accepted{
		Listen: number,
		Peer:   addrPort(conn.RemoteAddr()),
		Local:  addrPort(conn.LocalAddr()),
	})
	if err != nil {
		reset(conn)
		return
	}
	stream, reply, err := o.session.Open(o.ctx, header)
	if err != nil {
		reset(conn)
		return
	}
	if decodeReply(reply, nil) != nil {
		stream.Close()
		reset(conn)
		return
	}
	join(stream, conn)
}

// addrPort of a socket, without the IPv4-in-IPv6 form.
func addrPort(addr net.Addr) netip.AddrPort {
	if known, ok := addr.(interface{ AddrPort() netip.AddrPort }); ok {
		at := known.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	return netip.AddrPort{}
}
