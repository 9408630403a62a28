package stage

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage/cue"
	"understudy.dev/understudy/cli/stage/network"
	"understudy.dev/understudy/cli/stage/root"
)

// hand is the process that holds the stage: it has all capabilities in there,
// does what the keeper asks, and is the command's parent.
type hand struct {
	role   role
	front  *cue.Line
	keeper *cue.Line

	root    *root.Root
	sockets sync.Mutex // guards watcher
	watcher *network.Watcher

	// starts carries a command to the first thread, which must start it.
	starts chan func()
	// command's pid while it runs, else 0.
	command atomic.Int64
	stopped atomic.Bool
	// lost is closed when front or keeper is gone.
	lost   chan struct{}
	losing sync.Once
}

// runHand runs on the process's first thread, to which it is locked.
func runHand(r role) int {
	h := &hand{role: r, starts: make(chan func()), lost: make(chan struct{})}
	if err := h.open(); err != nil {
		fmt.Fprintf(os.Stderr, "error: holding the stage: %v\n", err)
		return 1
	}
	go h.listenToFront()
	go h.listenToKeeper()
	go func() {
		<-h.lost
		// Nobody could take a report any more, nor continue what is stopped.
		killAll()
		os.Exit(1)
	}()
	for start := range h.starts {
		start()
		if pid := int(h.command.Load()); pid != 0 {
			h.exited(h.watch(pid))
			return 0
		}
	}
	return 0
}

func (h *hand) open() (err error) {
	if err := becomeSubreaper(); err != nil {
		return err
	}
	if h.front, err = openLine(h.role.Line); err != nil {
		return err
	}
	if h.keeper, err = openLine(h.role.Orders); err != nil {
		return err
	}
	// It is in the foreground with the command, and outlives it.
	return receiveSignals(func(received) {})
}

func (h *hand) lose() { h.losing.Do(func() { close(h.lost) }) }

// watch follows the command until it has ended.
func (h *hand) watch(pid int) Status {
	for {
		var status unix.WaitStatus
		reaped, err := unix.Wait4(-1, &status, unix.WUNTRACED|unix.WCONTINUED, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil { // the other goroutine has reaped it: all are being killed
			return Status{Signal: unix.SIGKILL}
		}
		if reaped != pid {
			continue
		}
		switch {
		case status.Stopped():
			h.stopped.Store(true)
			_ = h.front.Send(handMessage{Stopped: status.StopSignal(), Command: pid})
		case status.Continued():
			h.stopped.Store(false)
			go continueFront(pid)
		case status.Signaled():
			return Status{Signal: status.Signal()}
		case status.Exited():
			return Status{Code: status.ExitStatus()}
		}
	}
}

// frontDelay is how long the front may take to be continued together with the
// command, before somebody is thought to have continued the command alone.
const frontDelay = 50 * time.Millisecond

// continueFront lets the shell see its job go on when somebody has continued
// the command alone.
func continueFront(command int) {
	time.Sleep(frontDelay)
	// In this order: the front stops only after the command has.
	if front := os.Getppid(); stopped(front) && !stopped(command) {
		_ = unix.Kill(front, unix.SIGCONT)
	}
}

func (h *hand) exited(status Status) {
	h.command.Store(0)
	killAll()
	running := false
	_ = h.front.Send(handMessage{Running: &running})
	_ = h.keeper.Send(report{Exited: &status})
}

func (h *hand) listenToFront() {
	defer h.lose()
	for {
		var message handMessage
		if _, err := h.front.Receive(&message); err != nil {
			return
		}
		if message.Signal != 0 {
			h.pass(message.Signal, message.Group)
		}
	}
}

// pass sends the command a signal that the front got, unless the command got
// it as well: then it was sent to the process group that they share.
func (h *hand) pass(signal syscall.Signal, group bool) {
	pid := int(h.command.Load())
	if pid == 0 || group && sameGroup(pid) {
		return
	}
	_ = unix.Kill(pid, signal)
}

func sameGroup(pid int) bool {
	group, err := unix.Getpgid(pid)
	return err == nil && group == unix.Getpgrp()
}

func (h *hand) listenToKeeper() {
	defer h.lose()
	for {
		var o order
		if _, err := h.keeper.Receive(&o); err != nil {
			return
		}
		switch {
		case o.Dial != nil, o.Sockets:
			go h.obey(o) // these come often, and may wait
		case o.Run != nil:
			h.starts <- func() { h.obey(o) }
		default:
			h.obey(o)
		}
	}
}

// obey does what was ordered, and reports.
func (h *hand) obey(o order) {
	answer := report{ID: o.ID}
	var file *os.File
	var err error
	switch {
	case o.Plan != nil:
		file, err = h.build(o.Plan, &answer)
	case o.Run != nil:
		err = h.run(o.Run.command())
	case o.Kill != 0:
		err = h.kill(o.Kill)
	case o.End:
		killDescendants(0)
	case o.Redirect != nil:
		err = network.SetRedirects(o.Redirect.Aliases, o.Redirect.Redirects)
	case o.Hostname != "":
		err = errors.Join(network.SetAddresses(o.Addresses), unix.Sethostname([]byte(o.Hostname)), h.root.Rewrite(o.Files))
	case o.Refresh != nil:
		err = h.root.Refresh(*o.Refresh)
	case o.Sockets:
		answer.Sockets, err = h.list()
		answer.HasSockets = err == nil
	case o.View != 0:
		file, err = h.device(o.View - 1)
	case o.Dial != nil:
		file, err = dialInside(*o.Dial)
	}
	if err != nil {
		answer.fail(err)
	}
	if file == nil {
		_ = h.keeper.Send(answer)
		return
	}
	_ = h.keeper.Send(answer, file)
	file.Close()
}

// build makes the inside of the stage.
func (h *hand) build(p *plan, answer *report) (*os.File, error) {
	if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
		return nil, fmt.Errorf("setting the hostname: %w", err)
	}
	device, err := network.Open(string(p.Device))
	if err != nil {
		return nil, err
	}
	p.Root.Dir, p.Root.Personal = string(p.Dir), convert[string](p.Personal)
	ready := &ready{Kind: device.Kind, Ethernet: device.Ethernet, MAC: device.MAC}
	err = network.Up(device, p.Addresses, func(notice string) { ready.Notices = append(ready.Notices, notice) })
	if err == nil {
		h.watcher, err = network.NewWatcher()
	}
	if err == nil {
		h.root, err = root.Arrange(p.Root)
	}
	if err != nil {
		device.File.Close()
		return nil, err
	}
	// By its path, as what was the working directory may lie below a mount, or
	// belong to the old root.
	if err := os.Chdir(p.Root.Dir); err != nil {
		ready.Notices = append(ready.Notices, fmt.Sprintf("the working directory is / in the stage: %v", err))
		if err := os.Chdir("/"); err != nil {
			return nil, fmt.Errorf("entering the root: %w", err)
		}
	}
	ready.Made, ready.Notices = h.root.Made, append(ready.Notices, h.root.Notices...)
	answer.Ready = ready
	go h.followSockets()
	return device.File, nil
}

// device hands a view's device over, once: a mount whose server is gone must be
// gone, too, and not wait for this process.
func (h *hand) device(view int) (*os.File, error) {
	if h.root == nil || view < 0 || view >= len(h.root.Devices) || h.root.Devices[view] == nil {
		return nil, errors.New("there is no such view")
	}
	device := h.root.Devices[view]
	h.root.Devices[view] = nil
	return device, nil
}

func (h *hand) kill(signal syscall.Signal) error {
	pid := int(h.command.Load())
	if pid == 0 {
		return nil
	}
	if err := unix.Kill(pid, signal); err != nil {
		return fmt.Errorf("sending the command signal %d: %w", int(signal), err)
	}
	if signal != unix.SIGCONT && h.stopped.Load() {
		return unix.Kill(pid, unix.SIGCONT) // else it would not see it
	}
	return nil
}
