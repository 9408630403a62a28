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
// The node's network namespace is that of the runtime's process which watches over
// the pod: right below the first process of all, which is not of the node's network
// on every machine. Above what an agent has started in the pod there is one too.
func NodeAddresses(pod *os.File) ([]netip.Addr, error) {
	return nodeAddresses(pod, 1)
}

// nodeAddresses takes top for the first process of all.
func nodeAddresses(pod *os.File, top int) ([]netip.Addr, error) {
	ns, err := namespaceAbove(pod, top)
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

// namespaceAbove opens the network namespace of the highest process above one of
// the pod's.
func namespaceAbove(pod *os.File, top int) (*os.File, error) {
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
		if its, err := os.Stat(networkOf(pid)); err != nil || !os.SameFile(mine, its) {
			continue
		}
		highest := pid
		for above := pid; above > 0 && above != top; {
			highest = above
			if above, err = parent(above); err != nil {
				break // it has ended
			}
		}
		ns, err := os.Open(networkOf(highest))
		if err != nil {
			continue
		}
		if its, err := ns.Stat(); err == nil && !os.SameFile(mine, its) {
			return ns, nil
		}
		ns.Close()
	}
	return nil, errors.New("no process of the node is seen above the pod's")
}

func networkOf(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid), "ns/net") }

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
