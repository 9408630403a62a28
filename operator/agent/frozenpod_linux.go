package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"understudy.dev/understudy/operator/agent/root"
	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/tunnel"
)

// readFor is how long one question about the container's files may take: a file
// system that the frozen container itself serves would never answer.
const readFor = 10 * time.Second

// frozenPod is the tunnel's Handler beside a frozen container: the pod's network
// is the agent's own, and all else is looked at from outside.
type frozenPod struct {
	*pod
	of *frozen

	mu     sync.Mutex
	reader *root.Reader
	// process is the container's first; nil once the container has ended.
	process *os.File
	// last is what a container that has ended said of itself.
	last shown
}

// shown is what is taken from the container's first process.
type shown struct {
	environment []string
	workingDir  string
}

func newFrozenPod(of *frozen) *frozenPod {
	p := &frozenPod{pod: newPod(of.config, of.log), of: of}
	p.hidden = func() (map[uint64]bool, error) {
		pids, err := of.pids()
		if errors.Is(err, cgroup.ErrGone) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return socketsOfAll(pids)
	}
	return p
}

// show has a container that was just frozen be the one that is looked at.
func (p *frozenPod) show(c cgroup.Container) {
	first, err := firstIn(p.of.node, c)
	if err != nil {
		p.log.Warn("the container has no process to look at", "container", c.ID, "error", err)
		return
	}
	now, err := lookAt(root.Folder(first))
	if err != nil {
		first.Close()
		p.log.Warn("the container's process was not looked at", "container", c.ID, "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
	p.forget()
	p.process, p.last = first, now
}

// firstIn opens a container's first process.
func firstIn(node cgroup.Node, c cgroup.Container) (*os.File, error) {
	pids, err := processes(node, c)
	if err != nil {
		return nil, err
	}
	first := firstOf(pids)
	if first == 0 {
		return nil, cgroup.ErrGone
	}
	process, err := root.Process(first)
	if err != nil {
		return nil, err
	}
	// A number may be another's by the time that it is opened. Who has it after
	// that and is in the container is who was opened, or comes after one that has
	// ended, whose folder leads nowhere.
	if pids, err = processes(node, c); err == nil && !slices.Contains(pids, first) {
		err = cgroup.ErrGone
	}
	if err != nil {
		return nil, errors.Join(err, process.Close())
	}
	return process, nil
}

// ended is said when the container is gone. Who reads its files goes on.
func (p *frozenPod) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
}

func (p *frozenPod) forget() {
	if p.process != nil {
		p.process.Close()
		p.process = nil
	}
}

// lookAt reads a process's environment and folder.
func lookAt(proc string) (shown, error) {
	data, err := os.ReadFile(proc + "/environ")
	if err != nil {
		return shown{}, fmt.Errorf("reading the environment: %w", err)
	}
	dir, err := os.Readlink(proc + "/cwd")
	if err != nil || !strings.HasPrefix(dir, "/") {
		dir = "/"
	}
	return shown{environment: parseEnviron(data), workingDir: dir}, nil
}

// parseEnviron splits what the kernel shows of an environment; a process may
// have written anything over it.
func parseEnviron(data []byte) []string {
	var environment []string
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if key, _, ok := bytes.Cut(entry, []byte("=")); ok && len(key) > 0 {
			environment = append(environment, string(entry))
		}
	}
	return environment
}

func (p *frozenPod) drop() {
	if p.reader != nil {
		_ = p.reader.Close() // it is of no more use
		p.reader = nil
	}
}

func (p *frozenPod) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
	p.forget()
}

// who is who reads the container's files now.
func (p *frozenPod) who() (*root.Reader, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reader != nil && p.reader.Lost() {
		p.drop()
	}
	if p.reader != nil {
		return p.reader, nil
	}
	if p.process == nil {
		return nil, errors.New("the container does not run")
	}
	var err error
	p.reader, err = root.Open(p.process)
	return p.reader, err
}

// Welcome describes the pod as it is now.
func (p *frozenPod) Welcome(ctx context.Context) (tunnel.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	p.mu.Lock()
	self := p.last
	p.mu.Unlock()
	files, err := p.ownFiles(ctx)
	if err != nil {
		return tunnel.Welcome{}, err
	}
	addresses, err := interfaceAddresses(fileOf(files, "/etc/hosts"))
	if err != nil {
		return tunnel.Welcome{}, err
	}
	ports, err := p.loopbackPorts()
	if err != nil {
		p.log.Warn("ports not read", "error", err)
	}
	return tunnel.Welcome{
		Hostname:      p.hostname(files),
		Addresses:     addresses,
		Environment:   self.environment,
		WorkingDir:    self.workingDir,
		Files:         files,
		Mounts:        p.mountsNow(ctx),
		RemoteFiles:   true,
		WritesFiles:   true,
		Ports:         p.config.Ports,
		ListenAll:     p.config.ListenAll,
		LoopbackPorts: ports,
	}, nil
}

func (p *frozenPod) hostname(files []tunnel.File) string {
	if name := strings.TrimSpace(string(fileOf(files, "/etc/hostname"))); name != "" {
		return name
	}
	_, name, _ := strings.Cut(p.config.Freeze.Pod, "/")
	return name
}

func fileOf(files []tunnel.File, path string) []byte {
	for _, file := range files {
		if file.Path == path {
			return file.Data
		}
	}
	return nil
}

func (p *frozenPod) ownFiles(ctx context.Context) ([]tunnel.File, error) {
	reader, err := p.who()
	if err != nil {
		return nil, err
	}
	var files []tunnel.File
	for _, path := range ownFiles {
		file, err := reader.File(ctx, path)
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

// mountsNow are those of the configuration that there are, with their versions.
func (p *frozenPod) mountsNow(ctx context.Context) []tunnel.Mount {
	mounts := []tunnel.Mount{}
	reader, err := p.who()
	if err != nil {
		p.log.Warn("mounts not read", "error", err)
		return mounts
	}
	for _, path := range p.config.Mounts {
		mount, err := reader.Mount(ctx, path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // an optional one that is not there
		case err != nil:
			p.log.Warn("mount not read", "mount", path, "error", err)
		default:
			mounts = append(mounts, mount)
		}
	}
	return mounts
}

// DialTCP connects from the pod's network, past the fence.
func (p *frozenPod) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return (&net.Dialer{KeepAlive: 30 * time.Second, Control: fence.Control}).DialContext(ctx, "tcp", to.String())
}

// DialUDP opens a socket for one peer.
func (p *frozenPod) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return (&net.Dialer{Control: fence.Control}).DialContext(ctx, "udp", to.String())
}

// Listen takes the new connections to a port from the frozen container.
func (p *frozenPod) Listen(_ context.Context, request tunnel.ListenRequest) (net.Listener, error) {
	if !p.allowed(request) {
		return nil, fmt.Errorf("%s port %d: %w", request.Network, request.Port, tunnel.ErrForbidden)
	}
	stolen, err := p.of.fence.Steal(fence.Port{Number: request.Port, Loopback: onLoopback(request)})
	if errors.Is(err, fence.ErrInUse) {
		return nil, fmt.Errorf("%w: %w", tunnel.ErrInUse, err)
	}
	if err != nil {
		return nil, err
	}
	return stolen, nil
}

// ListenUDP takes the datagrams to a port from the frozen container.
func (p *frozenPod) ListenUDP(_ context.Context, request tunnel.ListenRequest) ([]tunnel.UDPSocket, error) {
	if request.Network != "udp" || !p.allowed(request) {
		return nil, fmt.Errorf("%s port %d: %w", request.Network, request.Port, tunnel.ErrForbidden)
	}
	stolen, err := p.of.fence.StealUDP(fence.Port{Number: request.Port, Loopback: onLoopback(request)})
	if errors.Is(err, fence.ErrInUse) {
		return nil, fmt.Errorf("%w: %w", tunnel.ErrInUse, err)
	}
	if err != nil {
		return nil, err
	}
	return []tunnel.UDPSocket{stolen}, nil
}

// End gives the pod back at once: its owner's processes have ended, and the
// cluster would say so only after the API server, the operator and the kubelet.
func (p *frozenPod) End() {
	select {
	case p.of.over <- struct{}{}:
	default:
	}
}

// Watch compares the pod with what it was, once a second.
func (p *frozenPod) Watch(ctx context.Context, changed func(tunnel.Event) error) error {
	return watch(ctx, p.log, p.loopbackPorts, func() []tunnel.Mount {
		ctx, cancel := context.WithTimeout(ctx, readFor)
		defer cancel()
		return p.mountsNow(ctx)
	}, changed)
}

// ReadTree hands over the files of one of the configuration's mounts.
func (p *frozenPod) ReadTree(ctx context.Context, mount string, file func(tunnel.File) error) (string, error) {
	if !slices.Contains(p.config.Mounts, mount) {
		return "", fmt.Errorf("%s: %w", mount, tunnel.ErrNotFound)
	}
	reader, err := p.who()
	if err != nil {
		return "", err
	}
	return reader.Tree(ctx, mount, file)
}
