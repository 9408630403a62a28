package fence

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxLevel of a cgroup that is looked at.
const maxLevel = 32

// levelOffset is what has to be added to a cgroup's depth below root for the kernel
// to mean the same by it. It is seen on this process's own cgroup: 0, unless the
// node is itself a container, on a kernel that counts from the machine's own root.
// The error is ErrIndistinct where the kernel does not tell sockets by cgroup at all.
func levelOffset(root string) (offset int, err error) {
	err = inEmptyNamespace(func() error {
		self, err := os.ReadFile("/proc/thread-self/cgroup")
		if err != nil {
			return fmt.Errorf("looking at the agent's own cgroup: %w", err)
		}
		group := ""
		for line := range strings.Lines(string(self)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				group = filepath.Clean(path)
			}
		}
		own, err := cgroupAt(root, group)
		if err != nil {
			return fmt.Errorf("looking at the agent's own cgroup: %w", err)
		}
		level, err := levelOf(own.ID)
		offset = int(level) - int(own.Level)
		return err
	})
	return offset, err
}

// levelOf finds the level at which the kernel sees a socket of this process in the
// cgroup, by sending a datagram to nobody. Called within an empty namespace.
func levelOf(id uint64) (uint32, error) {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return 0, fmt.Errorf("bringing loopback up: %w", err)
	}
	b, err := newBuilder("level")
	if err != nil {
		return 0, err
	}
	b.conn.AddTable(b.table)
	outgoing := b.base("outgoing", nftables.ChainHookOutput, beforeTranslation)
	for level := range uint32(maxLevel) {
		b.rule(outgoing, "", inCgroup(Cgroup{ID: id, Level: level}), &expr.Counter{})
	}
	if err := b.conn.Flush(); err != nil {
		return 0, fmt.Errorf("%w: the kernel has no rules by cgroup: %w", ErrIndistinct, err)
	}
	conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
	if err == nil {
		_, err = conn.Write([]byte{0})
		conn.Close()
	}
	if err != nil && !errors.Is(err, unix.ECONNREFUSED) {
		return 0, fmt.Errorf("sending a datagram: %w", err)
	}
	rules, err := b.conn.GetRules(b.table, outgoing)
	if err != nil {
		return 0, fmt.Errorf("reading what has matched: %w", err)
	}
	for level, rule := range rules {
		for _, e := range rule.Exprs {
			if counter, ok := e.(*expr.Counter); ok && counter.Packets > 0 {
				return uint32(level), nil
			}
		}
	}
	return 0, fmt.Errorf("%w: the kernel does not see the agent's own socket in the agent's cgroup", ErrIndistinct)
}
