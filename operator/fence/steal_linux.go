package fence

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"understudy.dev/understudy/operator/fence/probe"
)

// ErrInUse: the port is stolen already.
var ErrInUse = errors.New("the port is stolen already")

// backlog of stolen connections that nobody has accepted yet; more are reset.
const backlog = 128

// Stolen is a port of the pod whose new connections come here: a net.Listener. A
// connection's local address is the one that its peer meant, and its remote address
// is the peer's.
type Stolen struct {
	fence *Fence
	port  Port
	queue chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Steal takes the new connections to a port, until the returned listener is closed.
// The port's probes come to it too. A port that another container of the pod listens
// on is left to it. The error is ErrInUse if it is stolen already.
func (f *Fence) Steal(port Port) (*Stolen, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stealers[port] != nil {
		return nil, fmt.Errorf("stealing port %d: %w", port.Number, ErrInUse)
	}
	if f.closed {
		return nil, fmt.Errorf("stealing port %d: %w", port.Number, net.ErrClosed)
	}
	if f.steal == nil {
		doors, err := f.open(f.deliver)
		if err != nil {
			return nil, err
		}
		f.steal = doors
	}
	s := &Stolen{fence: f, port: port, queue: make(chan net.Conn, backlog), done: make(chan struct{})}
	f.stealers[port] = s
	err := f.changeLocked(func(p *plan) {
		p.steal = addrs(f.steal)
		p.stolen = append(p.stolen, port)
	})
	if err != nil {
		delete(f.stealers, port)
		return nil, fmt.Errorf("stealing port %d: %w", port.Number, err)
	}
	return s, nil
}

// Accept waits for the next connection. The error is net.ErrClosed at the end.
func (s *Stolen) Accept() (net.Conn, error) {
	select {
	case <-s.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case conn := <-s.queue:
		return conn, nil
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Addr is the port as stolen, at no address in particular or at loopback.
func (s *Stolen) Addr() net.Addr {
	addr := netip.IPv6Unspecified()
	if s.port.Loopback {
		addr = loopback4.Addr()
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, s.port.Number))
}

// Close gives the port back. Connections that were not accepted are reset, those
// that were live on.
func (s *Stolen) Close() error {
	f := s.fence
	f.mu.Lock()
	var err error
	if f.stealers[s.port] == s {
		err = f.changeLocked(func(p *plan) {
			p.stolen = slices.DeleteFunc(p.stolen, func(port Port) bool { return port == s.port })
		})
		delete(f.stealers, s.port)
	}
	f.mu.Unlock()
	s.end()
	return err
}

// end resets what nobody has accepted. Nothing is delivered any more.
func (s *Stolen) end() {
	s.once.Do(func() { close(s.done) })
	for {
		select {
		case conn := <-s.queue:
			reset(conn)
		default:
			return
		}
	}
}

// deliver gives a connection to whom its port was stolen for.
func (f *Fence) deliver(conn net.Conn) {
	to := meant(conn)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stealers[Port{Number: to.Port()}]
	if s == nil && to.Addr().IsLoopback() {
		s = f.stealers[Port{Number: to.Port(), Loopback: true}]
	}
	if s == nil {
		reset(conn) // given back meanwhile, or somebody who came to the door itself
		return
	}
	select {
	case s.queue <- conn:
	default:
		reset(conn)
	}
}

// Answer answers these probes from the node where their ports are not stolen, and
// exchanges those that were answered before. inPod also answers those that one of
// the pod's own containers passes on, as meshes do.
func (f *Fence) Answer(probes []probe.Probe, inPod bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return net.ErrClosed
	}
	if f.answers == nil {
		answers, err := probe.New(nil)
		if err != nil {
			return err
		}
		doors, err := f.open(func(conn net.Conn) { answers.Serve(conn, meant(conn).Port()) })
		if err != nil {
			answers.Close()
			return err
		}
		f.answers, f.answer = answers, doors
	}
	var ports []uint16
	for _, p := range probes {
		if !slices.Contains(ports, p.Port) {
			ports = append(ports, p.Port)
		}
	}
	// What is asked for between the two is reset as if it were too early.
	f.answers.Set(probes)
	err := f.changeLocked(func(p *plan) {
		p.probed, p.answer, p.nodes, p.meshed = ports, addrs(f.answer), f.nodes, inPod
	})
	if err != nil {
		return fmt.Errorf("answering probes: %w", err)
	}
	return nil
}

// open opens doors in the namespace and hands on what comes through.
func (f *Fence) open(each func(net.Conn)) (doors []door, err error) {
	err = within(f.netns, func() error {
		doors, err = openDoors()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, d := range doors {
		f.accepts.Go(func() {
			for {
				conn, err := d.Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					time.Sleep(acceptAgain)
					continue
				}
				each(conn)
			}
		})
	}
	return doors, nil
}

// acceptAgain is how long accepting rests when there are no descriptors left, of
// which the kernel tells nobody when there are again.
const acceptAgain = 50 * time.Millisecond

func addrs(doors []door) []netip.AddrPort {
	var found []netip.AddrPort
	for _, d := range doors {
		found = append(found, d.addr)
	}
	return found
}
