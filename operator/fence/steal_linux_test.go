package fence

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/fence/probe"
)

// stolen serves a stolen port as the local process would, until the test's end.
func (w *world) stolen(f *Fence, port Port) *Stolen {
	w.t.Helper()
	s, err := f.Steal(port)
	w.must("stealing", err)
	go serve(s, "local")
	w.t.Cleanup(func() { s.Close() })
	return s
}

// What is new comes to the local process with both its addresses, from outside and
// over loopback; what the container has stays its own; and all is given back.
func TestSteal(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			w := newWorld(t)
			target, sidecar, client := w.container("target", targetUser), w.container("sidecar", sidecarUser), w.outside("client")
			target.expect("ok", "listen tcp %s", at(anyOf(family.pod), 8080))
			sidecar.expect("ok", "listen tcp %s", at(anyOf(family.pod), 9090))
			client.expect("ok target", "keep tcp %s", at(family.pod, 8080))
			f := w.fence("s1")
			w.must("raising", f.Raise(w.scope(target, sidecar)))
			client.expect("refused", "dial tcp %s", at(family.pod, 8080))

			s := w.stolen(f, Port{Number: 8080})
			answer := client.expect("ok local "+at(family.pod, 8080), "dial tcp %s %s", at(family.pod, 8080), family.stranger)
			if !strings.Contains(answer, strings.TrimSuffix(at(family.stranger, 0), "0")) {
				t.Errorf("the peer's address is lost: %s", answer)
			}
			sidecar.expect("ok local "+at(family.loopback, 8080), "dial tcp %s", at(family.loopback, 8080))
			sidecar.expect("ok local "+at(family.pod, 8080), "dial tcp %s", at(family.pod, 8080))
			client.expect("ok hello", "say")
			client.expect("ok sidecar", "dial tcp %s", at(family.pod, 9090))
			// Sent back to where it came from it would go round for ever.
			if got := w.agentDials("tcp", at(family.loopback, 8080), Control); got != "refused" {
				t.Errorf("the agent's own connection: %s", got)
			}
			if _, err := f.Steal(Port{Number: 8080}); !errors.Is(err, ErrInUse) {
				t.Errorf("stolen twice: %v", err)
			}
			// Another container's port is its own, whatever is asked for.
			w.stolen(f, Port{Number: 9090})
			client.expect("ok sidecar", "dial tcp %s", at(family.pod, 9090))
			// Nobody comes in through the door itself.
			for _, door := range f.steal {
				if door.addr.Addr().Is6() == family.pod.Is6() {
					sidecar.expect("reset", "dial tcp %s", door.addr)
				}
			}

			// Also without a fence, in front of a container that runs.
			w.must("lowering", f.Lower())
			client.expect("ok local", "dial tcp %s", at(family.pod, 8080))
			w.must("giving back", s.Close())
			client.expect("ok target", "dial tcp %s", at(family.pod, 8080))
			w.must("closing", f.Close())
			client.expect("ok hello", "say")
			w.clean()
		})
	}
}

// A port of loopback only is not stolen from the pod's address.
func TestStealLoopback(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			w := newWorld(t)
			target, sidecar, client := w.container("target", targetUser), w.container("sidecar", sidecarUser), w.outside("client")
			f := w.fence("s1")
			w.must("raising", f.Raise(w.scope(target, sidecar)))
			sidecar.expect("refused", "dial tcp %s", at(family.loopback, 8080))
			w.stolen(f, Port{Number: 8080, Loopback: true})
			sidecar.expect("ok local", "dial tcp %s", at(family.loopback, 8080))
			client.expect("refused", "dial tcp %s", at(family.pod, 8080))
			sidecar.expect("refused", "dial tcp %s", at(family.pod, 8080))
		})
	}
}

// The pod's only container is held, on a node that does not tell containers apart:
// the agent's listeners are known by their mark.
func TestStealByMark(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			w := newWorld(t)
			target, client := w.container("target", targetUser), w.outside("client")
			target.expect("ok", "listen tcp %s", at(anyOf(family.pod), 8080))
			client.expect("ok target", "dial tcp %s", at(family.pod, 8080))
			f := w.fence("s1")
			w.must("raising", f.Raise(Scope{}))
			client.expect("refused", "dial tcp %s", at(family.pod, 8080))
			w.stolen(f, Port{Number: 8080})
			w.must("answering", f.Answer([]probe.Probe{{Kind: probe.TCP, Port: 5000}}, false))
			client.expect("ok local", "dial tcp %s", at(family.pod, 8080))
			check(t, "tcp", asker{w: w, from: family.kubelet, pod: family.pod}.tcp(5000, ""), "connected")
			target.expect("refused", "dial tcp %s", at(family.loopback, 8080))
		})
	}
}

// Where containers are told apart by their users, another's ports are its own too: by
// address and by protocol, and a new one as soon as it is known.
func TestStealByUser(t *testing.T) {
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			w := newWorld(t)
			target, sidecar, client := w.container("target", targetUser), w.container("sidecar", sidecarUser), w.outside("client")
			sidecar.expect("ok", "listen tcp %s", at(anyOf(family.pod), 9090))
			sidecar.expect("ok", "listen tcp %s", at(family.loopback, 7070))
			target.expect("ok", "listen tcp %s", at(family.pod, 7070))
			f := w.fence("s1")
			listeners := []Listener{{At: netip.AddrPortFrom(anyOf(family.pod), 9090)}, {At: netip.AddrPortFrom(family.loopback, 7070)}}
			raise := func() {
				scope, err := ScopeOfUsers([]uint32{targetUser}, []uint32{sidecarUser}, listeners)
				w.must("scope", err)
				w.must("raising", f.Raise(scope))
			}
			raise()
			w.stolen(f, Port{Number: 9090})
			w.stolenUDP(f, Port{Number: 9090})
			w.stolen(f, Port{Number: 7070})
			client.expect("ok sidecar", "dial tcp %s", at(family.pod, 9090))
			sidecar.expect("ok sidecar", "dial tcp %s", at(family.loopback, 9090))
			client.expect("ok local", "dial udp %s", at(family.pod, 9090))
			client.expect("ok local", "dial tcp %s", at(family.pod, 7070))
			sidecar.expect("ok sidecar", "dial tcp %s", at(family.loopback, 7070))

			sidecar.expect("ok", "listen tcp %s", at(family.pod, 6060))
			client.expect("refused", "dial tcp %s", at(family.pod, 6060))
			listeners = append(listeners, Listener{At: netip.AddrPortFrom(family.pod, 6060)})
			raise()
			client.expect("ok sidecar", "dial tcp %s", at(family.pod, 6060))
		})
	}
}

// What a pod forwards for others is not its own, whatever the port.
func TestForwardedPasses(t *testing.T) {
	w := newWorld(t)
	client, target := w.outside("client"), w.container("target", targetUser)
	beyond := netip.MustParseAddr("10.78.0.1")
	other := newNamespace(t)
	w.must("joining the pod and what is beyond", within(w.pod, func() error {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = "beyond"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(other.Fd())}); err != nil {
			return err
		}
		if err := up("beyond", netip.MustParseAddr("10.78.0.2")); err != nil {
			return err
		}
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
	}))
	route := func(to string, via netip.Addr) func() error {
		return func() error {
			_, block, err := net.ParseCIDR(to)
			if err != nil {
				return err
			}
			return netlink.RouteAdd(&netlink.Route{Dst: block, Gw: via.AsSlice()})
		}
	}
	w.must("addressing what is beyond", within(other, func() error { return up("eth0", beyond) }))
	w.must("routing back", within(other, route("10.77.0.0/24", netip.MustParseAddr("10.78.0.2"))))
	w.must("routing", within(w.node, route("10.78.0.0/24", pod4)))
	server := w.start(other, "beyond", &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL})
	t.Cleanup(server.stop)
	server.expect("ok", "listen tcp %s", at(beyond, 8080))
	client.expect("ok beyond", "dial tcp %s", at(beyond, 8080))
	f := w.fence("s1")
	w.must("raising", f.Raise(w.scope(target)))
	w.stolen(f, Port{Number: 8080})
	client.expect("ok local", "dial tcp %s", at(pod4, 8080))
	client.expect("ok beyond", "dial tcp %s", at(beyond, 8080))
}

// A mesh's own redirect comes first: its proxy gets what comes from outside, and
// what the proxy passes on is stolen.
func TestStealBehindMesh(t *testing.T) {
	w := newWorld(t)
	target, proxy, client := w.container("target", targetUser), w.container("proxy", sidecarUser), w.outside("client")
	proxy.expect("ok", "listen tcp 0.0.0.0:15006")
	target.expect("ok", "listen tcp 0.0.0.0:8080")
	w.must("making the mesh's redirect", within(w.pod, meshRedirect))
	client.expect("ok proxy", "dial tcp %s", at(pod4, 8080))
	proxy.expect("ok target", "dial tcp %s 127.0.0.6", at(pod4, 8080))
	f := w.fence("s1")
	w.must("raising", f.Raise(w.scope(target, proxy)))
	w.stolen(f, Port{Number: 8080})
	client.expect("ok proxy", "dial tcp %s", at(pod4, 8080))
	proxy.expect("ok local "+at(pod4, 8080)+" 127.0.0.6", "dial tcp %s 127.0.0.6", at(pod4, 8080))
}

// meshRedirect: what comes from outside for 8080 goes to 15006.
func meshRedirect() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	b := &builder{conn: conn, table: conn.AddTable(&nftables.Table{Name: "mesh", Family: nftables.TableFamilyIPv4})}
	chain := conn.AddChain(&nftables.Chain{
		Name: "prerouting", Table: b.table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
	})
	b.rule(chain, "", not(fromLoopback()), protocol(unix.IPPROTO_TCP), destinationPort(8080),
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(15006)}, &expr.Redir{RegisterProtoMin: 1})
	return conn.Flush()
}

// Changes at the same time, by several sessions, never let the target through, and
// leave nothing behind.
func TestChangesLeaveNoGap(t *testing.T) {
	w := newWorld(t)
	target, sidecar, client := w.container("target", targetUser), w.container("sidecar", sidecarUser), w.outside("client")
	client.expect("ok", "listen tcp %s", at(kubelet4, 5672))
	target.expect("ok", "listen tcp 0.0.0.0:8080")
	f, other := w.fence("s1"), w.fence("s2")
	scope := w.scope(target, sidecar)
	w.must("raising", f.Raise(scope))
	stop, failed := make(chan struct{}), make(chan error, 3)
	churn := func(change func(i int) error) {
		for i := 0; ; i++ {
			select {
			case <-stop:
				failed <- nil
				return
			default:
			}
			if err := change(i); err != nil {
				failed <- err
				return
			}
		}
	}
	go churn(func(int) error { return f.Raise(scope) })
	go churn(func(i int) error {
		s, err := f.Steal(Port{Number: uint16(10000 + i%10)})
		if err != nil {
			return fmt.Errorf("stealing: %w", err)
		}
		return s.Close()
	})
	go churn(func(int) error {
		if err := other.Raise(scope); err != nil {
			return err
		}
		return other.Lower()
	})
	for range 200 {
		target.expect("refused", "dial tcp %s", at(kubelet4, 5672))
		client.expect("refused", "dial tcp %s", at(pod4, 8080))
		sidecar.expect("ok client", "dial tcp %s", at(kubelet4, 5672))
	}
	close(stop)
	for range cap(failed) {
		w.must("changing", <-failed)
	}
	w.must("closing", f.Close())
	if left, err := Sessions(w.pod); err != nil || len(left) != 1 || left[0] != "s2" {
		t.Errorf("sessions %q, %v; one closed, the other did not", left, err)
	}
	w.must("closing", other.Close())
	w.clean()
	if err := f.Raise(scope); !errors.Is(err, net.ErrClosed) {
		t.Errorf("raising what was closed: %v", err)
	}
}

// What a dead agent has left is found and taken away, as often as anybody likes.
func TestLeftovers(t *testing.T) {
	w := newWorld(t)
	target, client := w.container("target", targetUser), w.outside("client")
	target.expect("ok", "listen tcp 0.0.0.0:8080")
	dead := w.fence("dead")
	w.must("raising", dead.Raise(w.scope(target)))
	_, err := dead.Steal(Port{Number: 8080})
	w.must("stealing", err)
	// As the kernel closes them when the agent is killed.
	for _, d := range dead.steal {
		d.Close()
	}
	client.expect("refused", "dial tcp %s", at(pod4, 8080))
	if left, err := Sessions(w.pod); err != nil || len(left) != 1 || left[0] != "dead" {
		t.Errorf("sessions %q, %v", left, err)
	}
	w.fence("dead") // the next agent of the session
	w.clean()
	client.expect("ok target", "dial tcp %s", at(pod4, 8080))
	for range 2 {
		w.must("removing what is not there", Remove(t.Context(), "dead", w.pod))
	}
}

// A name that no table can have is refused before anything is done.
func TestNames(t *testing.T) {
	w := newWorld(t)
	for _, session := range []string{"", strings.Repeat("x", maxSession+1), "a\x00b"} {
		if _, err := New(w.pod, session, Options{Nodes: []netip.Addr{kubelet4}}); err == nil {
			t.Errorf("a session of %d bytes was taken", len(session))
		}
	}
	w.must("closing", w.fence(strings.Repeat("x", maxSession)).Close())
	longest := w.fence(strings.Repeat("x", maxSession))
	w.must("raising", longest.Raise(Scope{}))
	w.must("closing", longest.Close())
	w.clean()
}

func TestCheck(t *testing.T) {
	needRoot(t)
	byCgroup, err := Check()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("tells containers apart by cgroup: %v", byCgroup)
}
