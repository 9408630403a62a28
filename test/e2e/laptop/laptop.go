// Package laptop is the network of a developer's machine: a network namespace
// of its own that reaches the API server, by way of a road that can be cut, and
// nothing else.
//
// The road is a second namespace at the other end of a veth pair. A relay
// listens there and passes connections on from the machine's own namespace.
// Neither has a route to anywhere, and both are gone with the process.
package laptop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Both ends of the road; they exist in their own namespaces only.
const (
	roadAddress   = "10.199.0.1"
	laptopAddress = "10.199.0.2"
	relayPort     = 6443
)

// Network is one laptop's network.
type Network struct {
	laptop, road netns.NsHandle
	listener     net.Listener
	mu           sync.Mutex
	conns        []net.Conn
}

// New makes the network and passes connections to Server on to the address.
func New(target string) (*Network, error) {
	n := &Network{laptop: netns.None(), road: netns.None()}
	err := onThread(func() (err error) {
		if n.road, err = netns.New(); err != nil {
			return fmt.Errorf("making the road's namespace: %w", err)
		}
		if n.listener, err = listen(); err != nil {
			return err
		}
		return nil
	})
	if err == nil {
		err = onThread(func() (err error) {
			if n.laptop, err = netns.New(); err != nil {
				return fmt.Errorf("making the laptop's namespace: %w", err)
			}
			return n.join()
		})
	}
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("making a laptop's network: %w", err)
	}
	go n.relay(target)
	return n, nil
}

// listen opens the relay's socket in the calling thread's namespace, where it
// stays whoever uses it.
func listen() (net.Listener, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("finding the loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("bringing the loopback up: %w", err)
	}
	return net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", relayPort))
}

// join lays the veth pair from the calling thread's namespace, the laptop's,
// to the road's.
func (n *Network) join() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding the loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bringing the loopback up: %w", err)
	}
	near := netlink.NewVeth(netlink.LinkAttrs{Name: "road", MTU: 1500})
	near.PeerName, near.PeerNamespace = "laptop", netlink.NsFd(int(n.road))
	if err := netlink.LinkAdd(near); err != nil {
		return fmt.Errorf("laying the road: %w", err)
	}
	here, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("speaking to the laptop's namespace: %w", err)
	}
	defer here.Close()
	there, err := netlink.NewHandleAt(n.road)
	if err != nil {
		return fmt.Errorf("speaking to the road's namespace: %w", err)
	}
	defer there.Close()
	for _, end := range []struct {
		in            *netlink.Handle
		link, address string
	}{{here, "road", laptopAddress}, {there, "laptop", roadAddress}} {
		link, err := end.in.LinkByName(end.link)
		if err != nil {
			return fmt.Errorf("finding an end of the road: %w", err)
		}
		address, err := netlink.ParseAddr(end.address + "/30")
		if err != nil {
			return err
		}
		if err := end.in.AddrAdd(link, address); err != nil {
			return fmt.Errorf("giving an end of the road the address %s: %w", end.address, err)
		}
		if err := end.in.LinkSetUp(link); err != nil {
			return fmt.Errorf("opening the road: %w", err)
		}
	}
	return nil
}

// Server is the URL that the API server has on the laptop.
func (n *Network) Server() string { return fmt.Sprintf("https://%s:%d", roadAddress, relayPort) }

// Do calls f on a thread that is on the laptop: the processes it starts are
// there too. f must not hand work to other goroutines.
func (n *Network) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.laptop); err != nil {
			return fmt.Errorf("entering the laptop: %w", err)
		}
		return f()
	})
}

// Cut drops every packet in both directions from now on. No connection is
// told: that is what a tunnel entrance or a closed lid looks like.
func (n *Network) Cut() error {
	return n.rules(func(c *nftables.Conn) {
		drop := nftables.ChainPolicyDrop
		table := c.AddTable(&nftables.Table{Name: "cut", Family: nftables.TableFamilyINet})
		for name, hook := range map[string]*nftables.ChainHook{"in": nftables.ChainHookInput, "out": nftables.ChainHookOutput} {
			c.AddChain(&nftables.Chain{
				Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook,
				Priority: nftables.ChainPriorityFilter, Policy: &drop,
			})
		}
	})
}

// Mend lets packets through again.
func (n *Network) Mend() error {
	return n.rules(func(c *nftables.Conn) {
		c.DelTable(&nftables.Table{Name: "cut", Family: nftables.TableFamilyINet})
	})
}

func (n *Network) rules(change func(*nftables.Conn)) error {
	c, err := nftables.New(nftables.WithNetNSFd(int(n.road)))
	if err != nil {
		return fmt.Errorf("speaking to the road's packet filter: %w", err)
	}
	change(c)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("changing the road's packet filter: %w", err)
	}
	return nil
}

func (n *Network) relay(target string) {
	for {
		near, err := n.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", target)
		if err != nil {
			near.Close() // the API server is down: the laptop sees a reset
			continue
		}
		n.mu.Lock()
		n.conns = append(n.conns, near, far)
		n.mu.Unlock()
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				io.Copy(way[0], way[1]) //nolint:errcheck // either end may go at any time
				way[0].Close()
				way[1].Close()
			}()
		}
	}
}

// Close lets go of the namespaces; the kernel removes them with what is in them.
func (n *Network) Close() error {
	var errs []error
	if n.listener != nil {
		errs = append(errs, n.listener.Close())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.Close()
	}
	for _, ns := range []*netns.NsHandle{&n.laptop, &n.road} {
		if ns.IsOpen() {
			errs = append(errs, ns.Close())
		}
	}
	return errors.Join(errs...)
}

// onThread calls f on a thread whose namespace may be changed: it ends with f.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread
		done <- f()
	}()
	return <-done
}
