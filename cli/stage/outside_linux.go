package stage

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"

	"understudy.dev/understudy/cli/stage/network"
	"understudy.dev/understudy/operator/tunnel"
)

// outside is where the stage's connections go: the pod's network, in which the
// addresses that the stage has itself are known by their aliases.
type outside struct {
	remote Remote
	hand   *handLine
	notice func(Notice)

	mu      sync.Mutex
	aliases []network.Alias
	pod     []network.Socket // what the pod's other containers listen on
	local   []network.Socket // what listens in the stage
	set     []network.Redirect
	// setting: redirects are set one after the other.
	setting sync.Mutex
	lacking sync.Once
}

func newOutside(remote Remote, hand *handLine, options Options) *outside {
	return &outside{remote: remote, hand: hand, notice: options.OnNotice}
}

func (o *outside) setWelcome(ctx context.Context, welcome tunnel.Welcome) {
	o.mu.Lock()
	o.aliases = network.Aliases(stageAddresses(welcome.Addresses))
	o.set = nil
	o.mu.Unlock()
	_ = o.setRemote(ctx, welcome.LoopbackPorts) // told by a notice
}

func (o *outside) setRemote(ctx context.Context, endpoints []tunnel.Endpoint) error {
	sockets := make([]network.Socket, 0, len(endpoints))
	for _, endpoint := range endpoints {
		sockets = append(sockets, network.Socket{Network: endpoint.Network, Addr: endpoint.Addr.Unmap(), Port: endpoint.Port})
	}
	o.mu.Lock()
	o.pod = sockets
	o.mu.Unlock()
	return o.redirect(ctx)
}

func (o *outside) setLocal(sockets []network.Socket) {
	o.mu.Lock()
	o.local = sockets
	o.mu.Unlock()
	_ = o.redirect(context.Background()) // told by a notice
}

// redirect lets the kernel know, if anything has changed. As long as there is
// nothing to redirect it is left alone, and does not track connections.
func (o *outside) redirect(ctx context.Context) error {
	o.setting.Lock()
	defer o.setting.Unlock()
	o.mu.Lock()
	aliases, wanted := o.aliases, network.Redirects(o.aliases, o.pod, o.local)
	same := slices.Equal(wanted, o.set)
	o.mu.Unlock()
	if same {
		return nil
	}
	_, _, err := o.hand.ask(ctx, order{Redirect: &redirection{Aliases: aliases, Redirects: wanted}})
	if err != nil {
		if !errors.Is(err, ErrHandLost) {
			o.lacking.Do(func() {
				o.notice(Notice{Text: "the pod's other containers do not answer on 127.0.0.1: " + err.Error()})
			})
		}
		return err
	}
	o.mu.Lock()
	o.set = wanted
	o.mu.Unlock()
	return nil
}

// actual is the pod's own address where to is an alias of it.
func (o *outside) actual(to netip.AddrPort) (netip.AddrPort, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, alias := range o.aliases {
		if alias.Alias == to.Addr() {
			return netip.AddrPortFrom(alias.Actual, to.Port()), true
		}
	}
	return to, false
}

// local connects to a local listener that began so lately that the kernel still
// redirected to the pod; nil where there is none.
func (o *outside) dialLocal(ctx context.Context, transport string, to netip.AddrPort) net.Conn {
	answer, _, err := o.hand.ask(ctx, order{Sockets: true})
	if err != nil || !network.Covered(answer.Sockets, network.Redirect{Network: transport, Addr: to.Addr(), Port: to.Port()}) {
		return nil
	}
	conn, err := dialThrough(ctx, o.hand, dial{Network: transport, To: to})
	if err != nil {
		return nil
	}
	return conn
}

// dialThrough lets the hand connect inside the stage.
func dialThrough(ctx context.Context, hand *handLine, d dial) (net.Conn, error) {
	_, file, err := hand.ask(ctx, order{Dial: &d})
	if err != nil {
		return nil, err
	}
	if file == nil {
		return nil, os.ErrInvalid
	}
	defer file.Close()
	return net.FileConn(file)
}

// DialTCP connects from the pod's network.
func (o *outside) DialTCP(ctx context.Context, to netip.AddrPort) (tunnel.Conn, error) {
	to, own := o.actual(to)
	if own {
		if conn, ok := o.dialLocal(ctx, "tcp", to).(*net.TCPConn); ok {
			return socket{conn}, nil
		}
	}
	return o.remote.DialTCP(ctx, to)
}

// DialUDP opens a flow from the pod's network.
func (o *outside) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	to, own := o.actual(to)
	if own {
		if conn := o.dialLocal(ctx, "udp", to); conn != nil {
			return conn, nil
		}
	}
	return o.remote.DialUDP(ctx, to)
}

// socket is a connection of the kernel as a tunnel.Conn.
type socket struct{ *net.TCPConn }

var _ tunnel.Conn = socket{}

// Reset closes with a reset.
func (s socket) Reset() error {
	if err := s.SetLinger(0); err != nil && !errors.Is(err, syscall.EINVAL) {
		return errors.Join(err, s.Close())
	}
	return s.Close()
}
