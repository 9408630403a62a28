//go:build linux

package netstack

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"understudy.dev/understudy/operator/tunnel"
)

// copyBuffer in bytes, of each direction of a connection.
const copyBuffer = 128 << 10

var copyBuffers = sync.Pool{New: func() any { return make([]byte, copyBuffer) }}

func (s *Stack) tcpHandler() func(stack.TransportEndpointID, *stack.PacketBuffer) bool {
	forwarder := tcp.NewForwarder(s.stack, defaultBuffer, maxPendingConnect, s.carryTCP)
	return func(id stack.TransportEndpointID, packet *stack.PacketBuffer) bool {
		if segment := header.TCP(packet.TransportHeader().Slice()); len(segment) >= header.TCPMinimumSize && segment.Flags() == header.TCPFlagSyn {
			s.sequences.Store(id, segment.SequenceNumber())
		}
		return forwarder.HandlePacket(id, packet)
	}
}

// carryTCP answers one connect of the stage: with what a dial outside comes to.
func (s *Stack) carryTCP(request *tcp.ForwarderRequest) {
	s.flows.Add(1)
	defer s.flows.Done()
	id := request.ID()
	to := addrPort(id.LocalAddress, id.LocalPort)

	ctx, cancel := context.WithTimeout(s.ctx, dialTimeout)
	outside, err := s.outside.DialTCP(ctx, to)
	cancel()
	sequence, _ := s.sequences.LoadAndDelete(id)
	if err != nil {
		switch s.outcomeOf(err, "tcp", to) {
		case refused:
			request.Complete(true)
		case unreachable:
			if number, ok := sequence.(uint32); ok {
				s.unreachable(id, header.TCPProtocolNumber, hostUnreachable, number)
			}
			request.Complete(false)
		case silence:
			request.Complete(false) // the kernel asks again, and gives up by itself
		}
		return
	}
	inside, err := s.accept(request)
	if err != nil {
		s.log.Debug("the local process gave up its connect", "address", to, "error", err)
		outside.Reset()
		return
	}
	stop := context.AfterFunc(s.ctx, func() { inside.Reset(); outside.Reset() })
	defer stop()
	Join(inside, outside)
}

func (s *Stack) accept(request *tcp.ForwarderRequest) (*Conn, error) {
	queue := new(waiter.Queue)
	endpoint, failed := request.CreateEndpoint(queue)
	if failed != nil {
		request.Complete(false)
		return nil, errors.New(failed.String())
	}
	request.Complete(false)
	// What the outside connection does with small writes is its own affair:
	// here each is passed on at once.
	endpoint.SocketOptions().SetDelayOption(false)
	return &Conn{TCPConn: gonet.NewTCPConn(queue, endpoint), abort: endpoint.Abort}, nil
}

// Conn is one TCP connection with a process in the stage.
type Conn struct {
	*gonet.TCPConn
	abort func()
}

var _ Stream = (*Conn)(nil)

// Reset ends both directions at once: the process in the stage sees
// ECONNRESET.
func (c *Conn) Reset() error {
	c.abort()
	return c.Close()
}

// Stream is one end of a connection that is joined with another.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
	Reset() error
}

// Join carries bytes both ways until both ends have ended: the end of one
// direction is passed on as such, a reset as a reset.
func Join(a, b Stream) {
	var directions sync.WaitGroup
	directions.Go(func() { pass(a, b) })
	pass(b, a)
	directions.Wait()
	a.Close()
	b.Close()
}

func pass(to, from Stream) {
	pooled := copyBuffers.Get()
	defer copyBuffers.Put(pooled)
	// Hiding all other methods keeps io.CopyBuffer to the buffer given.
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, pooled.([]byte))
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		to.Reset()
		from.Reset()
	}
}

// DialTCP connects to a process in the stage, from any address: it sees from
// as its peer. The error is tunnel.ErrRefused or another.
func (s *Stack) DialTCP(ctx context.Context, from, to netip.AddrPort) (*Conn, error) {
	conn, err := s.dialFrom(ctx, from, to)
	if errors.Is(err, errPortTaken) {
		// The peer's port may still be remembered of its last connection.
		conn, err = s.dialFrom(ctx, netip.AddrPortFrom(from.Addr(), 0), to)
	}
	return conn, err
}

var errPortTaken = errors.New("the peer's port is taken")

func (s *Stack) dialFrom(ctx context.Context, from, to netip.AddrPort) (*Conn, error) {
	local, _ := full(from)
	remote, protocol := full(to)
	queue := new(waiter.Queue)
	endpoint, failed := s.stack.NewEndpoint(tcp.ProtocolNumber, protocol, queue)
	if failed != nil {
		return nil, errors.New(failed.String())
	}
	connected, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	queue.EventRegister(&connected)
	defer queue.EventUnregister(&connected)

	if failed := endpoint.Bind(local); failed != nil {
		endpoint.Close()
		return nil, errPortTaken
	}
	endpoint.SocketOptions().SetDelayOption(false)
	if failed := endpoint.Connect(remote); failed != nil && failed.String() == connectStarted {
		select {
		case <-ctx.Done():
			endpoint.Abort()
			return nil, ctx.Err()
		case <-s.ctx.Done():
			endpoint.Abort()
			return nil, tunnel.ErrClosed
		case <-ready:
		}
		if failed := endpoint.LastError(); failed != nil {
			endpoint.Close()
			return nil, dialError(failed)
		}
	} else if failed != nil {
		endpoint.Close()
		return nil, dialError(failed)
	}
	return &Conn{TCPConn: gonet.NewTCPConn(queue, endpoint), abort: endpoint.Abort}, nil
}
