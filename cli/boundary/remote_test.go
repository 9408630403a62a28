package boundary

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// pod is a pod whose every address is one name server, and which says where it
// was asked to connect and listen.
type pod struct {
	stage.Remote
	server  string
	dialled []netip.AddrPort
	listens []uint16
}

var errPod = errors.New("the pod was asked")

func (p *pod) DialTCP(_ context.Context, to netip.AddrPort) (tunnel.Conn, error) {
	p.dialled = append(p.dialled, to)
	return nil, errPod
}

func (p *pod) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	p.dialled = append(p.dialled, to)
	return new(net.Dialer).DialContext(ctx, "udp", p.server)
}

func (p *pod) Listen(_ context.Context, request tunnel.ListenRequest) (stage.Listener, error) {
	p.listens = append(p.listens, request.Port)
	return nil, nil
}

// serveNames answers every question for an address with one address.
func serveNames(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var message dnsmessage.Message
			if message.Unpack(buffer[:n]) != nil || len(message.Questions) == 0 {
				continue
			}
			message.Response = true
			message.Additionals = nil
			asked := message.Questions[0]
			if asked.Type == dnsmessage.TypeA {
				message.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: asked.Class, TTL: 60},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()},
				}}
			}
			if answer, err := message.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// ask looks a name up at the pod's name server, through the boundary.
func ask(t *testing.T, remote stage.Remote, name string) []netip.Addr {
	t.Helper()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := remote.DialUDP(ctx, netip.MustParseAddrPort("10.96.0.10:53"))
		return flow{conn}, err
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	addresses, err := resolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		t.Errorf("looking up %s: %v", name, err)
	}
	return addresses
}

// flow is a UDP flow as the standard library's resolver expects one.
type flow struct{ net.Conn }

func (flow) SetDeadline(time.Time) error            { return nil }
func (flow) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, errors.ErrUnsupported }
func (flow) WriteTo([]byte, net.Addr) (int, error)  { return 0, errors.ErrUnsupported }

// TestNames: who answers, and what is known of the answers.
func TestNames(t *testing.T) {
	const fromPod, fromHere = "10.1.1.1", "10.2.2.2"
	inPod, onThisMachine := serveNames(t, fromPod), serveNames(t, fromHere)
	for name, tc := range map[string]struct {
		names config.Names
		want  map[string]string
	}{
		"the pod":         {config.Names{Enabled: true}, map[string]string{"db.example.": fromPod}},
		"this machine":    {config.Names{}, map[string]string{"db.example.": fromHere}},
		"some here":       {config.Names{Enabled: true, Filter: config.Filter{Local: []string{"db", "*.corp:443"}}}, map[string]string{"db.shop.svc.cluster.local.": fromHere, "x.corp.": fromHere, "db.example.": fromPod}},
		"some in the pod": {config.Names{Enabled: true, Filter: config.Filter{Remote: []string{"db"}}}, map[string]string{"db.shop.svc.cluster.local.": fromPod, "db.": fromPod, "x.corp.": fromHere}},
	} {
		t.Run(name, func(t *testing.T) {
			b := draw(t, func(c *config.Config) {
				c.Names = tc.names
				c.Outgoing.Filter.Local = []string{"db.example", "x.corp"}
			})
			b.here.names = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, onThisMachine)
			}}
			b.Welcome(welcome)
			remote := b.Remote(&pod{server: inPod})
			for asked, want := range tc.want {
				got := ask(t, remote, asked)
				if len(got) != 1 || got[0].Unmap().String() != want {
					t.Errorf("%s is %v, want %s", asked, got, want)
				}
				// A filter knows the address by its name, whoever answered.
				if inFilter := asked == "db.example." || asked == "x.corp."; b.isLocal("tcp", netip.AddrPortFrom(netip.MustParseAddr(want), 80)) != inFilter && inFilter {
					t.Errorf("%s is not known by its name", want)
				}
			}
		})
	}
}

// TestNamesOfHere: with names of this machine the stage has its hosts file and
// its search domains.
func TestNamesOfHere(t *testing.T) {
	b := draw(t, func(c *config.Config) { c.Names.Enabled = false })
	b.here.resolver = filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(b.here.resolver, []byte("nameserver 127.0.0.53\nsearch home.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := b.Welcome(welcome)
	for _, file := range got.Files {
		switch file.Path {
		case "/etc/hosts":
			t.Error("the pod's hosts are there")
		case "/etc/resolv.conf":
			if string(file.Data) != "nameserver 10.96.0.10\nsearch home.example\n" {
				t.Errorf("resolv.conf is %q", file.Data)
			}
		}
	}
	if string(welcome.Files[0].Data[:6]) != "search" {
		t.Error("the welcome itself was changed")
	}
}

// TestDial: a connection of this machine is a whole one, and errors are those
// that the pod's would be.
func TestDial(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort(listener.Addr().String())
	in := &pod{}
	remote := draw(t, func(c *config.Config) { c.Outgoing.Filter.Local = []string{to.String()} }).Remote(in)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		conn.Close()
	}()
	conn, err := remote.DialTCP(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if echo, err := io.ReadAll(conn); err != nil || string(echo) != "hello" {
		t.Errorf("%q, %v", echo, err)
	}
	if err := conn.Reset(); err != nil {
		t.Error(err)
	}
	listener.Close()
	if _, err := remote.DialTCP(t.Context(), to); !errors.Is(err, tunnel.ErrRefused) {
		t.Errorf("got %v", err)
	}
	if len(in.dialled) != 0 {
		t.Errorf("the pod was asked for %v", in.dialled)
	}
	if _, err := remote.DialTCP(t.Context(), netip.MustParseAddrPort("10.0.0.1:80")); !errors.Is(err, errPod) {
		t.Errorf("got %v", err)
	}
}

// TestListen: ports are opened by the numbers that they have in the cluster.
func TestListen(t *testing.T) {
	in := &pod{}
	remote := draw(t, func(c *config.Config) {
		c.Incoming = config.Incoming{Mode: config.IncomingSteal, PortMapping: []config.PortPair{{3000, 80}}, IgnorePorts: []uint16{443}, IgnoreLocalhost: true}
	}).Remote(in)
	for _, tc := range []struct {
		request   tunnel.ListenRequest
		forbidden bool
	}{
		{tunnel.ListenRequest{Network: "tcp", Port: 3000}, false},
		{tunnel.ListenRequest{Network: "tcp", Port: 8080}, false},
		{tunnel.ListenRequest{Network: "tcp", Port: 80}, true},  // 3000 stands for it
		{tunnel.ListenRequest{Network: "tcp", Port: 443}, true}, // not to be opened
		{tunnel.ListenRequest{Network: "tcp", Port: 8080, Loopback: true}, true},
	} {
		if _, err := remote.Listen(t.Context(), tc.request); errors.Is(err, tunnel.ErrForbidden) != tc.forbidden {
			t.Errorf("%+v: %v", tc.request, err)
		}
	}
	if len(in.listens) != 2 || in.listens[0] != 80 || in.listens[1] != 8080 {
		t.Errorf("opened %d", in.listens)
	}
}
