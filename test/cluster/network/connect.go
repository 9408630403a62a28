package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/test/cluster/machine"
)

const (
	bridge  = "cluster0"
	nodeNIC = "eth0"
)

// Connect gives the control machine its bridge and each node a link to it, with
// addresses and routes. Nodes are named as in Nodes.
func Connect(control machine.Machine, nodes map[string]machine.Machine) error {
	err := control.Do(func() error {
		if err := start(); err != nil {
			return err
		}
		// A fixed hardware address: a bridge otherwise takes that of its lowest port and changes it.
		attributes := netlink.LinkAttrs{Name: bridge, HardwareAddr: net.HardwareAddr{0x02, 0, 0, 0, 0, 1}}
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
			return fmt.Errorf("adding bridge: %w", err)
		}
		return address(bridge, Control)
	})
	if err != nil {
		return fmt.Errorf("connecting the control machine: %w", err)
	}
	for _, node := range Nodes {
		if err := connect(control, nodes[node.Name], node); err != nil {
			return fmt.Errorf("connecting %s: %w", node.Name, err)
		}
	}
	return control.Do(func() error { return addRoutes(ControlName) })
}

func connect(control, node machine.Machine, plan Node) error {
	err := control.Do(func() error {
		master, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		// Both ends are made where they belong: none is ever seen outside.
		link := &netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: plan.Name, MasterIndex: master.Attrs().Index},
			PeerName:      nodeNIC,
			PeerNamespace: netlink.NsPid(node.Holder),
		}
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("adding link: %w", err)
		}
		return netlink.LinkSetUp(link)
	})
	if err != nil {
		return err
	}
	return node.Do(func() error {
		if err := start(); err != nil {
			return err
		}
		if err := address(nodeNIC, plan.Address); err != nil {
			return err
		}
		return addRoutes(plan.Name)
	})
}

// start brings up the loopback of the namespace that the thread is in and makes it forward.
func start() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bringing up loopback: %w", err)
	}
	// /proc/sys/net shows the namespace of the thread that opens it.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return fmt.Errorf("turning on forwarding: %w", err)
	}
	return nil
}

func address(name string, addr netip.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding %s: %w", name, err)
	}
	ip := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, Machines.Bits()))}
	if err := netlink.AddrAdd(link, ip); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("giving %s the address %s: %w", name, addr, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing up %s: %w", name, err)
	}
	return nil
}

func addRoutes(machine string) error {
	for _, route := range Routes(machine) {
		if err := netlink.RouteReplace(&netlink.Route{Dst: ipNet(route.To), Gw: route.Via.AsSlice()}); err != nil {
			return fmt.Errorf("adding route to %s: %w", route.To, err)
		}
	}
	return nil
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 32)}
}
