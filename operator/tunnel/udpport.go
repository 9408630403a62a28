package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"understudy.dev/understudy/operator/tunnel/mux"
)

const (
	// maxFlows of UDP ports' peers at a time; datagrams of further ones are lost.
	maxFlows = 1024
	// busyFlows of one port are so many that for each new one the one that has
	// been silent longest is ended, after quietFlow of silence: who asks once and
	// goes, from a port of its own, is not to keep others out.
	busyFlows = maxFlows / 2
	quietFlow = time.Second
	// maxWaiting bytes of a peer's first datagrams, until its stream is open:
	// 4 MiB for all.
	maxWaiting = 4 << 10
)

// udpPort is one open socket: a flow for each of its peers.
type udpPort struct {
	owner  *owner
	socket UDPSocket
	number uint32
	ctx    context.Context // ends with the port

	mu    sync.Mutex
	flows map[route]*peerFlow
}

// route names a flow.
type route struct{ peer, at netip.AddrPort }

// peerFlow is what one peer sends, and is sent.
type peerFlow struct {
	route
	last atomic.Int64 // time of the last datagram either way, UnixNano

	mu      sync.Mutex
	stream  *mux.Stream // nil until it is open
	waiting [][]byte    // meanwhile
	size    int
}

// serveListenUDP holds a UDP port open while the stream lives.
func (o *owner) serveListenUDP(ctx context.Context, stream *mux.Stream, asked listen) error {
	handler, ok := o.config.Handler.(UDPHandler)
	if !ok {
		return fmt.Errorf("UDP port %d: %w", asked.Port, ErrForbidden)
	}
	sockets, err := handler.ListenUDP(ctx, asked.ListenRequest)
	if err != nil {
		return err
	}
	defer stream.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closeAll := sync.OnceFunc(func() {
		cancel()
		for _, socket := range sockets {
			socket.Close()
		}
	})
	defer closeAll()
	if err := replyOK(stream, listening{Addr: sockets[0].LocalAddr()}); err != nil {
		return err
	}
	go func() {
		// Nothing is said on the stream: it ends when the port is to be closed.
		_, _ = stream.WriteTo(discard{})
		closeAll()
	}()
	var reading sync.WaitGroup
	for _, socket := range sockets {
		port := &udpPort{owner: o, socket: socket, number: asked.Listen, ctx: ctx, flows: map[route]*peerFlow{}}
		reading.Go(port.serve)
	}
	reading.Wait()
	return nil
}

// serve reads datagrams until the socket is closed.
func (p *udpPort) serve() {
	datagram := make([]byte, 2+MaxDatagram)
	for {
		n, peer, at, err := p.socket.ReadFrom(datagram[2:])
		if err != nil {
			return
		}
		binary.BigEndian.PutUint16(datagram, uint16(n))
		if f := p.flow(route{peer, at}); f != nil {
			f.arrived(datagram[:2+n])
		}
	}
}

// flow is that of a route, begun where there is none; nil where there are too
// many.
func (p *udpPort) flow(of route) *peerFlow {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flows[of]; f != nil {
		return f
	}
	if len(p.flows) >= busyFlows {
		p.endQuietest()
	}
	select {
	case p.owner.flows <- struct{}{}:
	default:
		return nil
	}
	f := &peerFlow{route: of}
	f.last.Store(time.Now().UnixNano())
	p.flows[of] = f
	p.owner.rest.Go(func() {
		defer func() { <-p.owner.flows }()
		p.carry(f)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.flows, of)
	})
	return f
}

// endQuietest ends the flow that has been silent longest; mu is held.
func (p *udpPort) endQuietest() {
	var quietest *peerFlow
	for _, f := range p.flows {
		if quietest == nil || f.last.Load() < quietest.last.Load() {
			quietest = f
		}
	}
	if time.Since(time.Unix(0, quietest.last.Load())) < quietFlow {
		return
	}
	quietest.mu.Lock()
	defer quietest.mu.Unlock()
	if quietest.stream != nil {
		quietest.stream.Close()
	}
}

// arrived passes a datagram on, its length before it. It is lost where the
// owner does not keep up.
func (f *peerFlow) arrived(datagram []byte) {
	f.last.Store(time.Now().UnixNano())
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.stream != nil:
		if f.stream.Credit() >= len(datagram) {
			// A stream that has ended is seen by carry.
			_, _ = f.stream.Write(datagram)
		}
	case f.size+len(datagram) <= maxWaiting:
		f.waiting, f.size = append(f.waiting, append([]byte(nil), datagram...)), f.size+len(datagram)
	}
}

// carry opens the flow's stream and sends the peer what comes over it, until
// the port is closed, either end has ended it or it is idle.
func (p *udpPort) carry(f *peerFlow) {
	header, err := encodeHeader(kindAccepted, accepted{Listen: p.number, Peer: f.peer, Local: f.at})
	if err != nil {
		return
	}
	stream, reply, err := p.owner.session.Open(p.ctx, header)
	if err != nil {
		return
	}
	defer stream.Close()
	defer stream.SetReadDeadline(time.Time{})
	if decodeReply(reply, nil) != nil {
		return
	}
	defer context.AfterFunc(p.ctx, func() { stream.Close() })()
	f.open(stream)
	down, idle := &flow{stream: stream}, p.owner.config.FlowIdle
	for {
		_ = stream.SetReadDeadline(time.Unix(0, f.last.Load()).Add(idle))
		datagram, err := down.next()
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, f.last.Load())) < idle {
			continue // the peer has sent something
		}
		if err != nil {
			return
		}
		f.last.Store(time.Now().UnixNano())
		// One that the network does not take is lost.
		_ = p.socket.WriteTo(datagram, f.peer, f.at)
	}
}

// open sends what has waited for the stream.
func (f *peerFlow) open(stream *mux.Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, datagram := range f.waiting {
		if stream.Credit() >= len(datagram) {
			_, _ = stream.Write(datagram)
		}
	}
	f.stream, f.waiting = stream, nil
}
