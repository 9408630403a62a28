package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage/netstack"
	"understudy.dev/understudy/cli/stage/network"
	"understudy.dev/understudy/cli/stage/root"
	"understudy.dev/understudy/cli/stage/view"
	"understudy.dev/understudy/operator/tunnel"
)

// Stage is built, and holds at most one command at a time. All methods may be
// used at the same time.
type Stage struct {
	front   *Front
	hand    *handLine
	fence   *fence
	stack   *netstack.Stack
	outside *outside
	doors   *doors
	log     *slog.Logger
	made    []string
	closing sync.Once
	views   []*view.View
	// viewed are the mounts whose content a view shows.
	viewed map[string]bool
}

// Build makes namespaces, network and files. The command is not started yet.
// The error is ErrForbidden, ErrFrontLost or another.
func (f *Front) Build(ctx context.Context, remote Remote, options Options) (*Stage, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.OnNotice == nil {
		options.OnNotice = func(Notice) {}
	}
	if options.OnListening == nil {
		options.OnListening = func(Listening) {}
	}
	plan, err := makePlan(ctx, remote, options)
	if err != nil {
		return nil, err
	}
	line, pid, err := f.startHand(ctx)
	if err != nil {
		return nil, err
	}
	s := &Stage{front: f, hand: newHandLine(line), log: options.Log, viewed: plan.viewed}
	go s.hand.listen()
	if s.fence, err = newFence(pid); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.build(ctx, remote, options, plan); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stage) build(ctx context.Context, remote Remote, options Options, plan *plan) error {
	answer, device, err := s.hand.ask(ctx, order{Plan: plan})
	if err != nil {
		err = fmt.Errorf("building the stage: %w", err)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return explain(err)
		}
		return err
	}
	ready := answer.Ready
	if ready == nil || device == nil {
		return errors.New("building the stage: the hand sent no device")
	}
	s.made = ready.Made
	for _, notice := range ready.Notices {
		options.OnNotice(Notice{Text: notice})
	}
	s.log.Debug("the stage is built", "device", ready.Kind)
	s.serveViews(ctx, options, plan)

	s.outside = newOutside(remote, s.hand, options)
	s.stack, err = netstack.New(netstack.Device{File: device, Ethernet: ready.Ethernet, MAC: ready.MAC, MTU: network.MTU}, s.outside, s.log)
	if err != nil {
		return err
	}
	s.outside.setWelcome(ctx, options.Welcome)
	s.doors = newDoors(remote, s.hand, s.stack, options)
	go s.follow()
	return nil
}

// follow brings what listens in the stage to those who want to know.
func (s *Stage) follow() {
	for sockets := range s.hand.sockets {
		s.outside.setLocal(sockets)
		s.doors.set(sockets)
	}
}

func makePlan(ctx context.Context, remote Remote, options Options) (*plan, error) {
	welcome := options.Welcome
	if options.Dir == "" {
		options.Dir, _ = os.Getwd()
	}
	p := &plan{
		Device: options.Device, Hostname: welcome.Hostname, Addresses: stageAddresses(welcome.Addresses),
		Root:   root.Plan{Files: welcome.Files},
		viewed: map[string]bool{},
		Dir:    []byte(options.Dir), Personal: convert[[]byte](personalDirectories(options.Dir)),
	}
	p.Root.Hidden = options.Files.Hidden
	for _, bound := range options.Files.Bound {
		p.Root.Bound = append(p.Root.Bound, root.Bound(bound))
	}
	p.show(&options)
	reads, reading := errgroup.WithContext(ctx)
	copies := make([]mountCopy, len(welcome.Mounts))
	for i, mount := range welcome.Mounts {
		if p.viewed[mount.Path] {
			continue
		}
		reads.Go(func() error {
			read, err := readMount(reading, remote, mount)
			copies[i].Mount = read
			if errors.Is(err, tunnel.ErrTooLarge) && options.Files.Pod != nil {
				copies[i] = mountCopy{Mount: root.Mount{Path: mount.Path, File: mount.File}, tooLarge: true}
				return nil
			}
			return err
		})
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	copies = slices.DeleteFunc(copies, func(c mountCopy) bool { return c.Path == "" })
	return p, p.spare(ctx, options, copies)
}

func readMount(ctx context.Context, remote Remote, mount tunnel.Mount) (root.Mount, error) {
	tree, err := remote.ReadTree(ctx, mount.Path)
	if err != nil {
		return root.Mount{}, fmt.Errorf("reading the files of %s: %w", mount.Path, err)
	}
	return root.Mount{Path: mount.Path, File: mount.File, Files: tree.Files}, nil
}

// stageAddresses leaves out what an interface cannot bear, and takes an IPv4
// address that was written as IPv6 for what it is.
func stageAddresses(addresses []netip.Addr) []netip.Addr {
	usable := make([]netip.Addr, 0, len(addresses))
	for _, address := range addresses {
		if address = address.Unmap().WithZone(""); address.IsValid() && !address.IsLoopback() && !address.IsUnspecified() {
			usable = append(usable, address)
		}
	}
	return usable
}

func personalDirectories(dir string) []string {
	directories := []string{"/tmp", "/var/tmp", "/dev/shm", os.TempDir(), dir}
	if home, err := os.UserHomeDir(); err == nil {
		directories = append(directories, home)
	}
	return slices.DeleteFunc(directories, func(directory string) bool { return !filepath.IsAbs(directory) || directory == "/" })
}

// Run starts the command. The error is fs.ErrNotExist where there is no such
// command or directory, fs.ErrPermission where it may not be executed, or
// another.
func (s *Stage) Run(ctx context.Context, command Command) error {
	if _, _, err := s.hand.ask(ctx, order{Run: exactly(command)}); err != nil {
		return s.loss(err)
	}
	return nil
}

// Wait waits until the command has ended, and all its descendants with it.
func (s *Stage) Wait(ctx context.Context) (Status, error) {
	select {
	case <-s.hand.exited:
		return s.hand.status, nil
	case <-s.hand.lost:
	case <-s.front.lost:
	case <-ctx.Done():
		return Status{}, ctx.Err()
	}
	// Both may have happened.
	select {
	case <-s.hand.exited:
		return s.hand.status, nil
	default:
	}
	s.fence.sweep(sweepTimeout)
	return Status{}, s.loss(ErrHandLost)
}

// loss is ErrFrontLost where that is the reason of an error of the hand.
func (s *Stage) loss(err error) error {
	if !errors.Is(err, ErrHandLost) {
		return err
	}
	select {
	case <-s.front.lost:
		return ErrFrontLost
	case <-time.After(lossDelay):
		return err
	}
}

const (
	// sweepTimeout bounds the wait for killed processes to be gone; one that
	// hangs in the kernel may take longer.
	sweepTimeout = 5 * time.Second
	// lossDelay in which the front's end is heard of after that of its hand.
	lossDelay = 100 * time.Millisecond
)

// Signal sends the command a signal.
func (s *Stage) Signal(signal syscall.Signal) error {
	_, _, err := s.hand.ask(context.Background(), order{Kill: signal})
	return err
}

// End asks the command to end (SIGTERM), kills it and all its descendants when
// it has not within grace, and returns when all are dead.
func (s *Stage) End(ctx context.Context, grace time.Duration) error {
	select {
	case <-s.hand.exited:
		return nil
	default:
	}
	if grace > 0 && s.Signal(unix.SIGTERM) == nil {
		select {
		case <-s.hand.exited:
			return nil
		case <-s.hand.lost:
		case <-s.front.lost:
		case <-time.After(grace):
		case <-ctx.Done():
		}
	}
	s.hand.close() // it kills all, and ends
	s.fence.sweep(sweepTimeout)
	return nil
}

// Listening is what listens in the stage now on TCP, and how it may be reached.
func (s *Stage) Listening() []Listening { return s.doors.list() }

// SetWelcome gives the stage the addresses, hostname, files, ports and loopback
// ports of another incarnation of the pod, and opens its listeners there. The
// content of mounts is refreshed; which there are stays.
func (s *Stage) SetWelcome(ctx context.Context, welcome tunnel.Welcome) error {
	welcome.Addresses = stageAddresses(welcome.Addresses)
	_, _, err := s.hand.ask(ctx, order{Addresses: welcome.Addresses, Hostname: welcome.Hostname, Files: welcome.Files})
	if err != nil {
		return fmt.Errorf("changing the stage's addresses: %w", err)
	}
	s.outside.setWelcome(ctx, welcome)
	s.doors.setWelcome(welcome)
	var failed error
	for _, mount := range welcome.Mounts {
		failed = errors.Join(failed, s.RefreshMount(ctx, mount))
	}
	return failed
}

// SetLoopbackPorts says what the pod's other containers listen on now.
func (s *Stage) SetLoopbackPorts(ctx context.Context, endpoints []tunnel.Endpoint) error {
	return s.outside.setRemote(ctx, endpoints)
}

// RefreshMount reads the content of a mount again, and exchanges it in the
// stage as a whole.
func (s *Stage) RefreshMount(ctx context.Context, mount tunnel.Mount) error {
	if s.viewed[mount.Path] {
		return nil
	}
	read, err := readMount(ctx, s.outside.remote, mount)
	if err != nil {
		return err
	}
	if _, _, err := s.hand.ask(ctx, order{Refresh: &read}); err != nil {
		return fmt.Errorf("refreshing %s: %w", mount.Path, err)
	}
	return nil
}

// Close kills what is left in the stage, closes its listeners and connections,
// and removes what was made for it.
func (s *Stage) Close() error {
	s.closing.Do(func() {
		// Whoever waits for a file could not be killed.
		for _, served := range s.views {
			served.Close()
		}
		s.hand.close()
		if s.fence != nil {
			s.fence.sweep(sweepTimeout)
			s.fence.close()
		}
		if s.doors != nil {
			s.doors.close()
		}
		if s.stack != nil {
			s.stack.Close()
		}
		for _, directory := range slices.Backward(s.made) {
			// Whatever has been put in there meanwhile stays.
			if err := os.Remove(directory); err != nil && !errors.Is(err, os.ErrNotExist) {
				s.log.Debug("a mount point stays", "path", directory, "error", err)
			}
		}
	})
	return nil
}

var _ io.Closer = (*Stage)(nil)
