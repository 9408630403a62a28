//go:build linux

package netstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"understudy.dev/understudy/operator/tunnel"
)

// namePort is that of DNS.
const namePort = 53

// carryUDP begins a flow with its first datagram. It runs where packets are
// delivered, so that the flow's next datagram finds it.
func (s *Stack) carryUDP(request *udp.ForwarderRequest) bool {
	if s.ctx.Err() != nil {
		return true
	}
	id := request.ID()
	queue := new(waiter.Queue)
	endpoint, failed := request.CreateEndpoint(queue)
	if failed != nil {
		s.log.Debug("beginning a UDP flow failed", "address", addrPort(id.LocalAddress, id.LocalPort), "error", failed.String())
		return true
	}
	inside := gonet.NewUDPConn(queue, endpoint)
	s.flows.Go(func() {
		defer inside.Close()
		s.carryFlow(id, inside, addrPort(id.LocalAddress, id.LocalPort))
	})
	return true
}

func (s *Stack) carryFlow(id stack.TransportEndpointID, inside net.Conn, to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(s.ctx, udpUnanswered)
	outside, err := s.outside.DialUDP(ctx, to)
	cancel()
	if err != nil {
		s.tellUDP(id, err, to)
		return
	}
	end := sync.OnceFunc(func() { inside.Close(); outside.Close() })
	defer end()
	stop := context.AfterFunc(s.ctx, end)
	defer stop()

	idle := time.AfterFunc(udpUnanswered, end)
	defer idle.Stop()
	var flow sync.WaitGroup
	var mu sync.Mutex
	patience := flowPatience{names: to.Port() == namePort}
	seen := func(answer bool) {
		mu.Lock()
		defer mu.Unlock()
		idle.Reset(patience.after(answer))
	}
	flow.Go(func() {
		defer end()
		if err := datagrams(outside, inside, func() { seen(false) }); err != nil {
			s.tellUDP(id, err, to)
		}
	})
	if err := datagrams(inside, outside, func() { seen(true) }); err != nil {
		s.tellUDP(id, err, to)
	}
	end()
	flow.Wait()
}

// flowPatience is how long one flow may be silent.
type flowPatience struct {
	names              bool // it is with a name server
	questions, answers int
}

// after one more datagram, an answer or not, it is how long the flow may be
// silent.
func (p *flowPatience) after(answer bool) time.Duration {
	if answer {
		p.answers++
	} else {
		p.questions++
	}
	switch {
	case p.answers == 0:
		return udpUnanswered
	case !p.names:
		return udpAnswered
	case p.answers < p.questions:
		return udpNameAnswered
	}
	return udpNameDone
}

// DialUDP opens a flow to a process in the stage, from any address: it sees
// from as its peer, but for the port where it has itself begun a flow to there.
func (s *Stack) DialUDP(from, to netip.AddrPort) (net.Conn, error) {
	conn, err := s.flowFrom(from, to)
	if err != nil {
		conn, err = s.flowFrom(netip.AddrPortFrom(from.Addr(), 0), to)
	}
	if err != nil {
		return nil, fmt.Errorf("opening a flow into the stage: %w", err)
	}
	return conn, nil
}

func (s *Stack) flowFrom(from, to netip.AddrPort) (*gonet.UDPConn, error) {
	local, _ := full(from)
	remote, protocol := full(to)
	queue := new(waiter.Queue)
	endpoint, failed := s.stack.NewEndpoint(udp.ProtocolNumber, protocol, queue)
	if failed != nil {
		return nil, errors.New(failed.String())
	}
	// One peer may send to several ports, and flows of its may go both ways.
	endpoint.SocketOptions().SetReusePort(true)
	if failed = endpoint.Bind(local); failed == nil {
		failed = endpoint.Connect(remote)
	}
	if failed != nil {
		endpoint.Close()
		return nil, errors.New(failed.String())
	}
	return gonet.NewUDPConn(queue, endpoint), nil
}

// JoinFlows carries datagrams both ways until either end has ended, and closes
// both.
func JoinFlows(a, b net.Conn) {
	var directions sync.WaitGroup
	pass := func(to, from net.Conn) {
		_ = datagrams(to, from, func() {}) // always ends with an error
		a.Close()
		b.Close()
	}
	directions.Go(func() { pass(a, b) })
	pass(b, a)
	directions.Wait()
}

// datagrams passes datagrams on until one end is closed.
func datagrams(to, from net.Conn, seen func()) error {
	datagram := make([]byte, tunnel.MaxDatagram)
	for {
		n, err := from.Read(datagram)
		if err != nil {
			return err
		}
		seen()
		if _, err := to.Write(datagram[:n]); err != nil {
			return err
		}
	}
}

// tellUDP lets the local process know by ICMP what the kernel of the pod would
// have told it: a connected socket then reads ECONNREFUSED or EHOSTUNREACH.
func (s *Stack) tellUDP(id stack.TransportEndpointID, err error, to netip.AddrPort) {
	switch {
	case errors.Is(err, tunnel.ErrRefused), errors.Is(err, syscall.ECONNREFUSED):
		s.unreachable(id, header.UDPProtocolNumber, portUnreachable, 0)
	case errors.Is(err, tunnel.ErrUnreachable), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		s.unreachable(id, header.UDPProtocolNumber, hostUnreachable, 0)
	default:
		s.log.Debug("a UDP flow ended", "address", to, "error", err)
	}
}
