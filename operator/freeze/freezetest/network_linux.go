package freezetest

import (
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Network is a network namespace; it lasts as long as the test.
type Network struct {
	t    testing.TB
	file *os.File
}

// The first thread is kept from those that change their namespace: it would not
// end with them, and what /proc/self says is of the first one.
func init() { runtime.LockOSThread() }

// NewNetwork makes a network namespace whose loopback is up.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	NeedRoot(t)
	n := &Network{t: t}
	n.on(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error {
		var err error
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	t.Cleanup(func() { n.file.Close() })
	return n
}

// File is the namespace's.
func (n *Network) File() *os.File { return n.file }

// In runs f on a thread that is in the namespace; processes started there are too.
func (n *Network) In(f func() error) {
	n.t.Helper()
	n.on(func() error { return unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET) }, f)
}

func (n *Network) on(enter, f func() error) {
	n.t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		err := enter()
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		n.t.Fatal(err)
	}
}

// Connect joins two namespaces by a pair of interfaces with the addresses given,
// two for each, as in 10.9.0.1/24.
func Connect(a *Network, aAddresses []string, b *Network, bAddresses []string) {
	a.t.Helper()
	a.In(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: "eth0"},
			PeerName:      "eth0",
			PeerNamespace: netlink.NsFd(int(b.file.Fd())),
		})
	})
	for _, end := range []struct {
		network   *Network
		addresses []string
	}{{a, aAddresses}, {b, bAddresses}} {
		end.network.In(func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			for _, text := range end.addresses {
				address, err := netlink.ParseAddr(text)
				if err != nil {
					return err
				}
				if address.IP.To4() == nil {
					address.Flags = unix.IFA_F_NODAD
				}
				if err := netlink.AddrAdd(link, address); err != nil {
					return err
				}
			}
			return netlink.LinkSetUp(link)
		})
	}
}

// Listen listens in the namespace.
func (n *Network) Listen(address string) net.Listener {
	n.t.Helper()
	var listener net.Listener
	n.In(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	n.t.Cleanup(func() { listener.Close() })
	return listener
}

// Start starts a process in the namespace.
func (n *Network) Start(role string, dirs []string, env ...string) *Process {
	n.t.Helper()
	var started *Process
	n.In(func() error {
		started = Launch(n.t, role, dirs, env...)
		return nil
	})
	started.awaitCount(n.t, role)
	return started
}
