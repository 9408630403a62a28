package stage

import (
	"cmp"
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

// doors are the ways in: for each port on which something in the stage listens,
// the port in the cluster, if it may be opened, and, of TCP, the one on the
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
	sockets []network.Socket
	open    map[gate]*door
	telling sync.Mutex // one call of OnListening at a time
}

// gate names a door.
type gate struct {
	network string
	port    uint16
}

// door is one port.
type door struct {
	sockets []network.Socket // never empty
	addrs   []netip.Addr     // where they listen, as the cluster has it
	after   *door            // was the same port's before
	state   Listening
	settled bool            // state was told
	ctx     context.Context // ends when the port is closed; connections live on
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

func newDoors(remote Remote, hand *handLine, stack *netstack.Stack, options Options) *doors {
	d := &doors{remote: remote, hand: hand, stack: stack, options: options, log: options.Log, open: map[gate]*door{}}
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
	slices.SortFunc(list, func(a, b Listening) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Network, b.Network))
	})
	return list
}

func (d *doors) setWelcome(welcome tunnel.Welcome) {
	d.mu.Lock()
	d.welcome = welcome
	sockets := d.sockets
	d.mu.Unlock()
	// What may be opened has changed, perhaps: each door is made anew.
	d.change(nil)
	d.set(sockets)
}

// set takes what listens now.
func (d *doors) set(sockets []network.Socket) {
	d.mu.Lock()
	d.sockets = sockets
	gates := map[gate][]network.Socket{}
	for _, socket := range sockets {
		at := gate{socket.Network, socket.Port}
		if socket.Network == "tcp" || d.serves(at) {
			gates[at] = append(gates[at], socket)
		}
	}
	d.mu.Unlock()
	d.change(gates)
}

// clientPorts are those from here on that the kernel gives to sockets which did
// not ask for one (net.ipv4.ip_local_port_range, as every new namespace has it).
const clientPorts = 32768

// serves says whether a UDP socket is more than a client's; mu is held.
func (d *doors) serves(at gate) bool {
	return d.declared(at) || d.welcome.ListenAll && at.port < clientPorts
}

// change closes and opens doors until they are as wanted.
func (d *doors) change(gates map[gate][]network.Socket) {
	var closed []*door
	var opened []*door
	d.mu.Lock()
	before := map[gate]*door{}
	for at, old := range d.open {
		sockets, wanted := gates[at]
		addrs := reachable(sockets, d.welcome.Addresses)
		wanted = wanted && len(addrs) > 0
		if wanted && slices.Equal(addrs, old.addrs) {
			old.sockets = sockets
			continue
		}
		old.cancel()
		delete(d.open, at)
		if wanted {
			before[at] = old
		} else {
			closed = append(closed, old)
		}
	}
	for at, sockets := range gates {
		addrs := reachable(sockets, d.welcome.Addresses)
		if d.open[at] == nil && d.ctx.Err() == nil && len(addrs) > 0 {
			door := &door{sockets: sockets, addrs: addrs, after: before[at]}
			door.ctx, door.cancel = context.WithCancel(d.ctx)
			door.state = Listening{Network: at.network, Port: at.port, Loopback: loopbackOnly(addrs), Reach: ReachNone}
			d.open[at] = door
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

// reachable are the addresses at which sockets listen, in order: those of
// loopback, the pod's own, and 0.0.0.0 and :: for all of a family.
func reachable(sockets []network.Socket, pod []netip.Addr) []netip.Addr {
	var addrs []netip.Addr
	for _, socket := range sockets {
		if socket.Addr.IsUnspecified() {
			addrs = append(addrs, socket.Addr)
			if socket.Addr.Is6() && !socket.Only6 {
				addrs = append(addrs, netip.IPv4Unspecified())
			}
		}
	}
	four, six := slices.Contains(addrs, netip.IPv4Unspecified()), slices.Contains(addrs, netip.IPv6Unspecified())
	for _, socket := range sockets {
		covered := socket.Addr.Is4() && four || socket.Addr.Is6() && six
		if !covered && (socket.Addr.IsLoopback() || slices.Contains(pod, socket.Addr)) {
			addrs = append(addrs, socket.Addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	return addrs[:min(len(addrs), tunnel.MaxListenAddrs)]
}

func loopbackOnly(addrs []netip.Addr) bool {
	return !slices.ContainsFunc(addrs, func(addr netip.Addr) bool { return !addr.IsLoopback() })
}

func (d *doors) tell(state Listening) {
	d.telling.Lock()
	defer d.telling.Unlock()
	d.options.OnListening(state)
}

// keep holds one door open until its context ends.
func (d *doors) keep(ctx context.Context, door *door) {
	if door.after != nil {
		door.after.done.Wait() // the port is still its
		door.after = nil
	}
	at := gate{door.state.Network, door.state.Port}
	published := false
	if at.network == "tcp" && !d.options.DoNotPublish {
		published = d.publish(ctx, door)
	}
	d.mu.Lock()
	door.state.Published = published
	allowed := d.allowed(at)
	d.mu.Unlock()
	if !allowed {
		d.settle(ctx, door, ReachNone, fmt.Errorf("port %d: %w", at.port, tunnel.ErrForbidden))
		return
	}
	reach := ReachCluster
	if door.state.Loopback {
		reach = ReachPod
	}
	for began := time.Now(); ctx.Err() == nil; {
		listener, err := d.remote.Listen(ctx, tunnel.ListenRequest{
			Network: at.network, Port: at.port, Loopback: door.state.Loopback, Addrs: door.addrs,
		})
		switch {
		case err == nil:
			d.settle(ctx, door, reach, nil)
			d.accept(ctx, door, listener)
		case errors.Is(err, tunnel.ErrInUse) && time.Since(began) < lettingGo:
			// By this port's door before, perhaps, of which the agent has not
			// yet heard that it is closed.
			wait(ctx, lettingGo/20)
			continue
		case !errors.Is(err, tunnel.ErrClosed):
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

const (
	// reopenAfter a listener in the cluster has ended or could not be opened.
	reopenAfter = 500 * time.Millisecond
	// lettingGo of a port may take the agent so long.
	lettingGo = time.Second
)

func wait(ctx context.Context, duration time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
}

// settle says what has become of a door, unless it was closed meanwhile or that
// was said already.
func (d *doors) settle(ctx context.Context, door *door, reach Reach, why error) {
	if ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	said := door.settled && door.state.Reach == reach && fmt.Sprint(door.state.Why) == fmt.Sprint(why)
	door.state.Reach, door.state.Why, door.settled = reach, why, true
	state := door.state
	d.mu.Unlock()
	if !said {
		d.tell(state)
	}
}

// allowed says whether a port may be opened in the cluster; mu is held.
func (d *doors) allowed(at gate) bool { return d.welcome.ListenAll || d.declared(at) }

// declared says whether a port is one of the welcome's; mu is held.
func (d *doors) declared(at gate) bool {
	return slices.ContainsFunc(d.welcome.Ports, func(p tunnel.Port) bool {
		return p.Port == at.port && (p.Network == at.network || p.Network == "" && at.network == "tcp")
	})
}

// accept lets in what comes from the cluster until the listener or ctx ends.
func (d *doors) accept(ctx context.Context, door *door, listener Listener) {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	defer listener.Close()
	for {
		if door.state.Network == "udp" {
			flow, err := listener.AcceptFlow()
			if err != nil {
				return
			}
			d.flows.Go(func() { d.letInFlow(door, flow) })
			continue
		}
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		d.flows.Go(func() { d.letIn(door, conn) })
	}
}

// letInFlow delivers what one peer in the cluster sends to a UDP port.
func (d *doors) letInFlow(door *door, flow net.Conn) {
	defer flow.Close()
	inside, err := d.deliverFlow(door, flow)
	if err != nil {
		d.log.Debug("delivering a flow failed", "port", door.state.Port, "peer", flow.RemoteAddr(), "error", err)
		return
	}
	stop := context.AfterFunc(d.ctx, func() { inside.Close(); flow.Close() })
	defer stop()
	netstack.JoinFlows(inside, flow)
}

func (d *doors) deliverFlow(door *door, flow net.Conn) (net.Conn, error) {
	way := d.way(door, flow)
	if way.inside {
		return dialThrough(d.ctx, d.hand, dial{Network: "udp", From: way.from, To: way.to})
	}
	return d.stack.DialUDP(way.from, way.to)
}

// way is how what has come to a door gets in.
func (d *doors) way(door *door, from net.Conn) way {
	d.mu.Lock()
	addresses, sockets, state := d.welcome.Addresses, door.sockets, door.state
	d.mu.Unlock()
	return chooseWay(state.Network, addrPortOf(from.RemoteAddr()), addrPortOf(from.LocalAddr()), state.Port, addresses, sockets)
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
	way := d.way(door, conn)
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
	if known, ok := address.(interface{ AddrPort() netip.AddrPort }); ok {
		to := known.AddrPort()
		return netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	}
	to, _ := netip.ParseAddrPort(address.String())
	return netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
}
