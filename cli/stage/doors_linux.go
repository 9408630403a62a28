package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"understudy.dev/understudy/cli/stage/netstack"
	"understudy.dev/understudy/cli/stage/network"
	"understudy.dev/understudy/operator/tunnel"
)

// doors are the ways in: for each TCP port on which something in the stage
// listens, the port in the cluster, if it may be opened, and the one on the
// developer's own 127.0.0.1.
type doors struct {
	remote  Remote
	hand    *handLine
	stack   *netstack.Stack
	options Options
	log     *slog.Logger

	ctx    context.Context // of all connections; ends with close
	cancel context.CancelFunc
	flows  sync.WaitGroup

	mu      sync.Mutex
	welcome tunnel.Welcome
	open    map[uint16]*door
	telling sync.Mutex // one call of OnListening at a time
}

// door is one port.
type door struct {
	sockets  []network.Socket // never empty
	loopback bool
	state    Listening
	ctx      context.Context // ends when the port is closed; connections live on
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

func newDoors(remote Remote, hand *handLine, stack *netstack.Stack, options Options) *doors {
	d := &doors{remote: remote, hand: hand, stack: stack, options: options, log: options.Log, open: map[uint16]*door{}}
	d.welcome = options.Welcome
	d.welcome.Addresses = stageAddresses(d.welcome.Addresses)
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// close closes all ports and resets all connections.
func (d *doors) close() {
	d.cancel()
	d.set(nil)
	d.flows.Wait()
}

func (d *doors) list() []Listening {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Listening, 0, len(d.open))
	for _, door := range d.open {
		list = append(list, door.state)
	}
	slices.SortFunc(list, func(a, b Listening) int { return int(a.Port) - int(b.Port) })
	return list
}

func (d *doors) setWelcome(welcome tunnel.Welcome) {
	d.mu.Lock()
	d.welcome = welcome
	ports := map[uint16][]network.Socket{}
	for port, door := range d.open {
		ports[port] = door.sockets
	}
	d.mu.Unlock()
	// What may be opened has changed, perhaps: each door is made anew.
	d.change(nil)
	d.change(ports)
}

// set takes what listens now.
func (d *doors) set(sockets []network.Socket) {
	ports := map[uint16][]network.Socket{}
	for _, socket := range sockets {
		if socket.Network == "tcp" {
			ports[socket.Port] = append(ports[socket.Port], socket)
		}
	}
	d.change(ports)
}

// change closes and opens doors until they are as wanted.
func (d *doors) change(ports map[uint16][]network.Socket) {
	var closed []*door
	var opened []*door
	d.mu.Lock()
	for port, old := range d.open {
		sockets, wanted := ports[port]
		if wanted && loopbackOnly(sockets) == old.loopback {
			old.sockets = sockets
			continue
		}
		old.cancel()
		delete(d.open, port)
		if !wanted {
			closed = append(closed, old)
		}
	}
	for port, sockets := range ports {
		if d.open[port] == nil && d.ctx.Err() == nil {
			door := &door{sockets: sockets, loopback: loopbackOnly(sockets)}
			door.ctx, door.cancel = context.WithCancel(d.ctx)
			door.state = Listening{Port: port, Loopback: door.loopback, Reach: ReachNone}
			d.open[port] = door
			opened = append(opened, door)
		}
	}
	d.mu.Unlock()
	for _, door := range closed {
		door.done.Wait() // so that the port is free again when this is told
		state := door.state
		state.Closed, state.Reach, state.Why, state.Published = true, ReachNone, nil, false
		d.tell(state)
	}
	for _, door := range opened {
		door.done.Go(func() { d.keep(door.ctx, door) })
	}
}

func loopbackOnly(sockets []network.Socket) bool {
	return !slices.ContainsFunc(sockets, func(socket network.Socket) bool { return !socket.Addr.IsLoopback() })
}

func (d *doors) tell(state Listening) {
	d.telling.Lock()
	defer d.telling.Unlock()
	d.options.OnListening(state)
}

// keep holds one door open until its context ends.
func (d *doors) keep(ctx context.Context, door *door) {
	published := false
	if !d.options.DoNotPublish {
		published = d.publish(ctx, door)
	}
	d.mu.Lock()
	door.state.Published = published
	port, allowed := door.state.Port, d.allowed(door.state.Port)
	d.mu.Unlock()
	if !allowed {
		d.settle(ctx, door, ReachNone, fmt.Errorf("port %d: %w", port, tunnel.ErrForbidden))
		return
	}
	reach := ReachCluster
	if door.loopback {
		reach = ReachPod
	}
	for first := true; ctx.Err() == nil; first = false {
		listener, err := d.remote.Listen(ctx, tunnel.ListenRequest{Network: "tcp", Port: port, Loopback: door.loopback})
		if err == nil {
			if first {
				d.settle(ctx, door, reach, nil)
			}
			d.accept(ctx, door, listener)
		} else if first {
			d.settle(ctx, door, ReachNone, err)
		}
		if errors.Is(err, tunnel.ErrForbidden) {
			return
		}
		// The agent may be a new one, or another container may let go of the
		// port.
		wait(ctx, reopenAfter)
	}
}

// reopenAfter a listener in the cluster has ended or could not be opened.
const reopenAfter = 500 * time.Millisecond

func wait(ctx context.Context, duration time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
}

// settle says what has become of a door, unless it was closed meanwhile.
func (d *doors) settle(ctx context.Context, door *door, reach Reach, why error) {
	if ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	door.state.Reach, door.state.Why = reach, why
	state := door.state
	d.mu.Unlock()
	d.tell(state)
}

// allowed says whether a port may be opened in the cluster; mu is held.
func (d *doors) allowed(port uint16) bool {
	return d.welcome.ListenAll || slices.ContainsFunc(d.welcome.Ports, func(p tunnel.Port) bool {
		return p.Port == port && (p.Network == "tcp" || p.Network == "")
	})
}

// accept lets in what comes from the cluster until the listener or ctx ends.
func (d *doors) accept(ctx context.Context, door *door, listener Listener) {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	defer listener.Close()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		d.flows.Go(func() { d.letIn(door, conn) })
	}
}

// letIn delivers one connection of the cluster, with the peer's own address.
func (d *doors) letIn(door *door, conn tunnel.Conn) {
	inside, err := d.deliver(door, conn)
	if err != nil {
		d.log.Debug("delivering a connection failed", "port", door.state.Port, "peer", conn.RemoteAddr(), "error", err)
		conn.Reset()
		return
	}
	stop := context.AfterFunc(d.ctx, func() { inside.Reset(); conn.Reset() })
	defer stop()
	netstack.Join(inside, conn)
}

// deliverTimeout for a handshake with a process on the same machine, which may
// be stopped or have a full backlog.
const deliverTimeout = 30 * time.Second

func (d *doors) deliver(door *door, conn tunnel.Conn) (netstack.Stream, error) {
	ctx, cancel := context.WithTimeout(d.ctx, deliverTimeout)
	defer cancel()
	d.mu.Lock()
	addresses, sockets, port := d.welcome.Addresses, door.sockets, door.state.Port
	d.mu.Unlock()
	way := chooseWay(addrPortOf(conn.RemoteAddr()), addrPortOf(conn.LocalAddr()), port, addresses, sockets)
	if way.inside {
		return d.dialInside(ctx, way.from, way.to)
	}
	return d.stack.DialTCP(ctx, way.from, way.to)
}

func (d *doors) dialInside(ctx context.Context, from, to netip.AddrPort) (netstack.Stream, error) {
	conn, err := dialThrough(ctx, d.hand, dial{Network: "tcp", From: from, To: to})
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		conn.Close()
		return nil, errors.New("connecting inside the stage: not a TCP connection")
	}
	return socket{tcp}, nil
}

// publish opens the port on the developer's own 127.0.0.1.
func (d *doors) publish(ctx context.Context, door *door) bool {
	at := door.state.Port
	if d.options.Publish != nil {
		at = d.options.Publish(at)
	}
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(at)})
	if err != nil {
		d.options.OnNotice(Notice{
			Text: fmt.Sprintf("port %d is not published on this machine's 127.0.0.1:%d: %v", door.state.Port, at, errors.Unwrap(err)),
			Hint: "the local process is reached in the cluster all the same, where the port is open there",
		})
		return false
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	door.done.Go(func() {
		for {
			conn, err := listener.AcceptTCP()
			if err != nil {
				return
			}
			d.flows.Go(func() { d.letInHere(door, conn) })
		}
	})
	return true
}

// letInHere delivers one connection of the developer's own machine.
func (d *doors) letInHere(door *door, conn *net.TCPConn) {
	ctx, cancel := context.WithTimeout(d.ctx, deliverTimeout)
	defer cancel()
	d.mu.Lock()
	sockets, port := door.sockets, door.state.Port
	d.mu.Unlock()
	inside, err := d.dialInside(ctx, netip.AddrPort{}, netip.AddrPortFrom(listensAt(sockets), port))
	if err != nil {
		d.log.Debug("delivering a connection of this machine failed", "port", port, "error", err)
		_ = socket{conn}.Reset()
		return
	}
	stop := context.AfterFunc(d.ctx, func() { inside.Reset(); socket{conn}.Reset() })
	defer stop()
	netstack.Join(inside, socket{conn})
}

func addrPortOf(address net.Addr) netip.AddrPort {
	if tcp, ok := address.(*net.TCPAddr); ok {
		to := tcp.AddrPort()
		return netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	}
	to, _ := netip.ParseAddrPort(address.String())
	return netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
}
