package fence

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// NodeAddresses are all that the pod's node has: from one of them the kubelet's
// probes come. Which one is the network plugin's matter.
//
// The node's network namespace is that of the first process above the pod's own
// that is not in the pod's: the runtime's, which has started it.
func NodeAddresses(pod *os.File) ([]netip.Addr, error) {
	ns, err := namespaceAbove(pod)
	if err != nil {
		return nil, fmt.Errorf("looking for the node's addresses: %w; the agent needs hostPID and to be privileged", err)
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
				found = append(found, prefix.Addr().Unmap())
			}
		}
		return nil
	})
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found), err
}

func namespaceAbove(pod *os.File) (*os.File, error) {
	mine, err := pod.Stat()
	if err != nil {
		return nil, err
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, process := range processes {
		pid, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		// A process that the agent has put there is not the runtime's.
		for first := true; pid > 1; first = false {
			ns, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns/net"))
			if err != nil {
				break
			}
			its, err := ns.Stat()
			if err == nil && !os.SameFile(mine, its) {
				if !first && pid != os.Getpid() {
					return ns, nil
				}
				ns.Close()
				break
			}
			ns.Close()
			if pid, err = parent(pid); err != nil {
				break
			}
		}
	}
	return nil, errors.New("no process of the node has started one of the pod")
}

func parent(pid int) (int, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The name before it, in brackets, may itself have brackets and blanks.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return 0, fmt.Errorf("process %d: its stat has only %d fields", pid, len(fields))
	}
	return strconv.Atoi(fields[1])
}
