package fence

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
)

// nodeNetwork is the node's own network namespace, in a pod with hostPID.
const nodeNetwork = "/proc/1/ns/net"

// NodeAddresses are all that this machine has in its own network namespace: from
// one of them the kubelet's probes come. Which one is the network plugin's matter.
func NodeAddresses() ([]netip.Addr, error) {
	ns, err := os.Open(nodeNetwork)
	if err != nil {
		return nil, fmt.Errorf("looking for the node's addresses: %w; the agent needs hostPID", err)
	}
	defer ns.Close()
	var found []netip.Addr
	err = within(ns, func() error {
		addrs, err := net.InterfaceAddrs()
		if err != nil {
			return fmt.Errorf("listing the node's addresses: %w", err)
		}
		for _, addr := range addrs {
			if prefix, err := netip.ParsePrefix(addr.String()); err == nil && !prefix.Addr().IsLoopback() {
				found = append(found, prefix.Addr().Unmap().WithZone(""))
			}
		}
		return nil
	})
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found), err
}
