//go:build linux

// Package network makes the inside of a stage's network namespace: the
// interface that bears the pod's addresses, its routes, the redirect of the
// pod's loopback, and the list of what listens. All of it runs in the process
// that is in the namespace; the other end of the interface, a descriptor, is
// for the TCP/IP stack elsewhere.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Name of the interface: what container runtimes call it in a pod, as some
// programs choose their address by it.
const Name = "eth0"

// MTU of the interface in bytes: the largest multiple of 16 that an IP packet
// and both kinds of device allow. The far end is in the same kernel, so large
// packets cost no more than small ones.
const MTU = 65520

// Up brings loopback up and makes device bear the addresses, as the only way
// to everywhere. Where a sysctl is missing or may not be written the missing
// feature is told by notice.
func Up(device *Device, addresses []netip.Addr, notice func(string)) error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding loopback: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("bringing loopback up: %w", err)
	}
	set := func(what, path, value string) {
		if err := sysctl(path, value); err != nil {
			notice(fmt.Sprintf("%s: %v", what, err))
		}
	}
	set("ports below 1024 may not be bound", "net/ipv4/ip_unprivileged_port_start", "0")
	gid := strconv.Itoa(os.Getgid())
	_ = sysctl("net/ipv4/ping_group_range", gid+" "+gid)
	// Packets of the pod's loopback leave through the interface and come back
	// with 127.0.0.1 as their destination.
	set("the pod's loopback may not work", "net/ipv4/conf/"+Name+"/route_localnet", "1")
	for _, name := range []string{"all", Name} {
		_ = sysctl("net/ipv4/conf/"+name+"/rp_filter", "0")
	}
	if HasIPv6() {
		// No router speaks here, and nobody else could have the address.
		for _, setting := range []string{"accept_ra", "autoconf", "accept_dad", "dad_transmits", "router_solicitations"} {
			_ = sysctl("net/ipv6/conf/"+Name+"/"+setting, "0")
		}
		_ = sysctl("net/ipv6/conf/"+Name+"/addr_gen_mode", "1") // no link-local address
	}
	link, err := netlink.LinkByName(Name)
	if err != nil {
		return fmt.Errorf("finding %s: %w", Name, err)
	}
	if err := netlink.LinkSetMTU(link, MTU); err != nil {
		return fmt.Errorf("setting the MTU of %s: %w", Name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing %s up: %w", Name, err)
	}
	if device.peer != "" {
		peer, err := netlink.LinkByName(device.peer)
		if err != nil {
			return fmt.Errorf("finding %s: %w", device.peer, err)
		}
		if err := netlink.LinkSetMTU(peer, MTU); err != nil {
			return fmt.Errorf("setting the MTU of %s: %w", device.peer, err)
		}
		if err := netlink.LinkSetUp(peer); err != nil {
			return fmt.Errorf("bringing %s up: %w", device.peer, err)
		}
	}
	if HasIPv6() {
		// IPv6 takes what is for ::1 from loopback only, unless a route says
		// that it is here, too: so do replies of the pod's loopback come in.
		route := &netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: single(netip.IPv6Loopback()), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Priority: lastMetric,
		}
		if err := netlink.RouteReplace(route); err != nil {
			notice(fmt.Sprintf("the pod's other containers do not answer on ::1: %v", err))
		}
	}
	return SetAddresses(addresses)
}

// lastMetric is that of routes after the kernel's own.
const lastMetric = 1024

// SetAddresses makes the interface bear exactly these addresses, the first of
// each family being the one that connections leave from. A family without an
// address has no route, so that connecting is refused as in the pod.
func SetAddresses(addresses []netip.Addr) error {
	link, err := netlink.LinkByName(Name)
	if err != nil {
		return fmt.Errorf("finding %s: %w", Name, err)
	}
	old, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("listing the addresses of %s: %w", Name, err)
	}
	for _, address := range old {
		if err := netlink.AddrDel(link, &address); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("removing address %s: %w", address.IP, err)
		}
	}
	first := map[bool]netip.Addr{}
	for _, address := range addresses {
		if address.Is6() && !HasIPv6() {
			continue
		}
		entry := &netlink.Addr{IPNet: single(address), Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrReplace(link, entry); err != nil {
			return fmt.Errorf("adding address %s: %w", address, err)
		}
		if _, ok := first[address.Is6()]; !ok {
			first[address.Is6()] = address
		}
	}
	for is6, aliases := range map[bool]netip.Prefix{false: aliases4, true: aliases6} {
		if is6 && !HasIPv6() {
			continue
		}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: prefix(aliases), Scope: netlink.SCOPE_LINK}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("adding the route to %s: %w", aliases, err)
		}
		source, ok := first[is6]
		if !ok {
			continue
		}
		everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if is6 {
			everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		route = &netlink.Route{LinkIndex: link.Attrs().Index, Dst: prefix(everywhere), Scope: netlink.SCOPE_LINK, Src: source.AsSlice()}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("adding the default route from %s: %w", source, err)
		}
	}
	return nil
}

// HasIPv6 says whether this kernel speaks IPv6 at all.
func HasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

func sysctl(path, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0); err != nil {
		return fmt.Errorf("setting %s to %s: %w", path, value, err)
	}
	return nil
}

func single(address netip.Addr) *net.IPNet {
	return prefix(netip.PrefixFrom(address, address.BitLen()))
}

func prefix(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
