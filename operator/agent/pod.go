package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/tunnel"
)

// watchEvery the pod is looked at for changes.
const watchEvery = time.Second

// ownFiles of the container that the owner's end needs whole.
var ownFiles = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/hostname"}

// pod is the tunnel's Handler in a real pod.
type pod struct {
	config *settings.Config
	log    *slog.Logger
	state  *readiness
	// root of the filesystem that is read: "/" but in tests.
	root  string
	files *remoteFiles
	// own is the folder of the agent's key: nobody else's to read.
	own string
	// hidden are the inodes of sockets that are not the pod's for the owner; nil
	// for the agent's own alone.
	hidden func() (map[uint64]bool, error)
}

func newPod(config *settings.Config, log *slog.Logger) *pod {
	return &pod{config: config, log: log, state: newReadiness(config), root: "/", files: newRemoteFiles()}
}

func (p *pod) path(path string) string { return filepath.Join(p.root, path) }

// Welcome describes the pod as it is now.
func (p *pod) Welcome(context.Context) (tunnel.Welcome, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return tunnel.Welcome{}, fmt.Errorf("reading the host name: %w", err)
	}
	// An image may name a folder that it does not have.
	workingDir, err := os.Getwd()
	if err != nil {
		workingDir = "/"
	}
	files, err := p.ownFiles()
	if err != nil {
		return tunnel.Welcome{}, err
	}
	addresses, err := p.addresses()
	if err != nil {
		return tunnel.Welcome{}, err
	}
	ports, err := p.loopbackPorts()
	if err != nil {
		// A sandbox may hide its sockets; the session is worth more.
		p.log.Warn("ports not read", "error", err)
	}
	readable := p.readsFiles()
	return tunnel.Welcome{
		Hostname:      hostname,
		Addresses:     addresses,
		Environment:   os.Environ(),
		WorkingDir:    workingDir,
		Files:         files,
		Mounts:        p.mounts(),
		RemoteFiles:   readable,
		WritesFiles:   readable,
		Ports:         p.config.Ports,
		ListenAll:     p.config.ListenAll,
		LoopbackPorts: ports,
	}, nil
}

func (p *pod) ownFiles() ([]tunnel.File, error) {
	var files []tunnel.File
	for _, path := range ownFiles {
		file, err := readFile(p.path(path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the pod's own files: %w", err)
		}
		file.Path = path
		files = append(files, file)
	}
	return files, nil
}

// addresses are those of the pod's interfaces, in the order of /etc/hosts,
// where the kubelet writes the pod's in the order of its status.
func (p *pod) addresses() ([]netip.Addr, error) {
	// Without the file the interfaces' order has to do.
	hosts, _ := os.ReadFile(p.path("/etc/hosts"))
	return interfaceAddresses(hosts)
}

// interfaceAddresses are in the order of a hosts file.
func interfaceAddresses(hosts []byte) ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("reading the pod's addresses: %w", err)
	}
	var found []netip.Addr
	for _, addr := range all {
		prefix, err := netip.ParsePrefix(addr.String())
		if err != nil {
			continue
		}
		if a := prefix.Addr().Unmap(); !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			found = append(found, a)
		}
	}
	sortByHosts(found, hosts)
	return found, nil
}

func sortByHosts(addresses []netip.Addr, hosts []byte) {
	rank := map[netip.Addr]int{}
	for i, line := range bytes.Split(hosts, []byte("\n")) {
		if fields := bytes.Fields(line); len(fields) > 1 {
			if addr, err := netip.ParseAddr(string(fields[0])); err == nil {
				if _, known := rank[addr]; !known {
					rank[addr] = i
				}
			}
		}
	}
	at := func(a netip.Addr) int {
		if i, known := rank[a]; known {
			return i
		}
		return math.MaxInt
	}
	slices.SortStableFunc(addresses, func(a, b netip.Addr) int { return cmp.Compare(at(a), at(b)) })
}

// Watch compares the pod with what it was, once a second.
func (p *pod) Watch(ctx context.Context, changed func(tunnel.Event) error) error {
	return watch(ctx, p.log, p.loopbackPorts, p.mounts, changed)
}

// watch looks once a second at a pod's ports and mounts until ctx is done.
func watch(ctx context.Context, log *slog.Logger, portsNow func() ([]tunnel.Endpoint, error), mountsNow func() []tunnel.Mount, changed func(tunnel.Event) error) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	// Nothing is known of what the welcome said: the first look says it again
	// rather than miss what has changed since.
	var ports []tunnel.Endpoint
	var mounts []tunnel.Mount
	for {
		var event tunnel.Event
		if now, err := portsNow(); err != nil {
			log.Warn("ports not read", "error", err)
		} else if !slices.Equal(now, ports) {
			ports, event.LoopbackPorts = now, now
		}
		if now := mountsNow(); !slices.Equal(now, mounts) {
			mounts, event.Mounts = now, now
		}
		if event.LoopbackPorts != nil || event.Mounts != nil {
			if err := changed(event); err != nil {
				return err
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// DialTCP connects as the application would. The kernel decides how long that
// may take.
func (p *pod) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext(ctx, "tcp", to.String())
}

// DialUDP opens a socket for one peer.
func (p *pod) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "udp", to.String())
}

// SetReady is the owner's word that the session takes traffic.
func (p *pod) SetReady(ready bool) { p.state.setReady(ready) }
