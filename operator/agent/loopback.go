package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"understudy.dev/understudy/operator/tunnel"
)

// States of sockets in /proc/net, include/net/tcp_states.h.
const (
	stateListen = 0x0A
	stateClose  = 0x07 // of a UDP socket: it has no peer
)

// tables of the sockets of the pod's network namespace.
var tables = []struct {
	name, network string
	state         uint64
}{
	{"tcp", "tcp", stateListen},
	{"tcp6", "tcp", stateListen},
	{"udp", "udp", stateClose},
	{"udp6", "udp", stateClose},
}

// loopbackPorts are the sockets that other processes of the pod listen on and
// that can be reached on its loopback, in a fixed order.
func (p *pod) loopbackPorts() ([]tunnel.Endpoint, error) {
	own, err := p.ownSockets()
	if err != nil {
		return nil, fmt.Errorf("reading the agent's own sockets: %w", err)
	}
	sockets, err := p.sockets()
	if err != nil {
		return nil, fmt.Errorf("reading the pod's sockets: %w", err)
	}
	// Both before and after, as the agent opens and closes some meanwhile.
	later, err := p.ownSockets()
	if err != nil {
		return nil, fmt.Errorf("reading the agent's own sockets: %w", err)
	}
	ephemeral := ephemeralFrom(p.path("proc/sys/net/ipv4/ip_local_port_range"))
	found := []tunnel.Endpoint{}
	for _, s := range sockets {
		addr := s.local.Addr()
		switch {
		case own[s.inode], later[s.inode], !addr.IsLoopback() && !addr.IsUnspecified():
		// A client's socket, such as a resolver's, is no service.
		case s.network == "udp" && s.local.Port() >= ephemeral:
		default:
			found = append(found, tunnel.Endpoint{Network: s.network, Addr: addr, Port: s.local.Port()})
		}
	}
	slices.SortFunc(found, func(a, b tunnel.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Port, b.Port), a.Addr.Compare(b.Addr))
	})
	return slices.Compact(found), nil
}

// ownSockets are those that are no service of the pod's other containers.
func (p *pod) ownSockets() (map[uint64]bool, error) {
	own, err := socketsOf(p.path("proc/self/fd"))
	if err != nil || p.hidden == nil {
		return own, err
	}
	hidden, err := p.hidden()
	for inode := range hidden {
		own[inode] = true
	}
	return own, err
}

// sockets are all that wait for a peer in the pod's network namespace.
func (p *pod) sockets() ([]socket, error) {
	var all []socket
	for _, table := range tables {
		file, err := os.Open(p.path(filepath.Join("proc/self/net", table.name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		sockets, err := parseSockets(file, table.network, table.state)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", table.name, err)
		}
		all = append(all, sockets...)
	}
	return all, nil
}

// socket is one line of a table.
type socket struct {
	network string
	local   netip.AddrPort
	inode   uint64
}

// parseSockets reads the sockets in one state from a table of /proc/net.
func parseSockets(r io.Reader, network string, state uint64) ([]socket, error) {
	var sockets []socket
	lines := bufio.NewScanner(r)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 {
			return nil, fmt.Errorf("line %q has %d fields", lines.Text(), len(fields))
		}
		if is, err := strconv.ParseUint(fields[3], 16, 8); err != nil || is != state {
			continue
		}
		local, err := parseAddr(fields[1])
		if err != nil {
			return nil, err
		}
		inode, err := strconv.ParseUint(fields[9], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("inode %q: %w", fields[9], err)
		}
		sockets = append(sockets, socket{network: network, local: local, inode: inode})
	}
	return sockets, lines.Err()
}

// parseAddr reads "0100007F:1F90": the address in words of 32 bits, each in the
// machine's byte order (all that we build for are little-endian), and the port.
func parseAddr(text string) (netip.AddrPort, error) {
	host, port, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	number, portErr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || portErr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("address %q of a socket is malformed", text)
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), nil
}

// socketsOf are the inodes of the sockets among the descriptors in dir.
func socketsOf(dir string) (map[uint64]bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	own := map[uint64]bool{}
	for _, entry := range entries {
		// A descriptor may have been closed since.
		target, _ := os.Readlink(filepath.Join(dir, entry.Name()))
		if number, ok := strings.CutPrefix(target, "socket:["); ok {
			if inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); err == nil {
				own[inode] = true
			}
		}
	}
	return own, nil
}

// ephemeralFrom is the first port that the kernel gives to clients.
func ephemeralFrom(path string) uint16 {
	data, _ := os.ReadFile(path)
	if fields := bytes.Fields(data); len(fields) == 2 {
		if port, err := strconv.ParseUint(string(fields[0]), 10, 16); err == nil {
			return uint16(port)
		}
	}
	return 32768 // the kernel's default
}
