package stage

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage/cue"
)

// front is the process between shell and command.
type front struct {
	role   role
	keeper *cue.Line
	// events are handled one after the other, by run.
	events chan func()

	ear *ear

	hand    *cue.Line // nil while there is none
	handPid int
	running bool
	// ended is how the keeper ended.
	ended *unix.WaitStatus
}

// handGrace is how long a hand without a keeper may take to kill what it holds.
const handGrace = 2 * time.Second

func runFront(r role) int {
	f := &front{role: r, events: make(chan func())}
	if err := f.run(); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		_ = unix.Kill(r.Keeper, unix.SIGTERM)
		return r.Lost.LostExitCode
	}
	f.endHand()
	if f.ended.Exited() {
		return f.ended.ExitStatus()
	}
	fmt.Fprintf(os.Stderr, "error: the process that keeps the session was ended by signal %d (%s); the local process was killed\n",
		int(f.ended.Signal()), f.ended.Signal())
	if f.role.Lost.LostHint != "" {
		fmt.Fprintf(os.Stderr, "hint: %s\n", f.role.Lost.LostHint)
	}
	return f.role.Lost.LostExitCode
}

// run handles one event after the other until the keeper has ended.
func (f *front) run() error {
	if err := becomeSubreaper(); err != nil {
		return err
	}
	var err error
	if f.ear, err = startEar(); err != nil {
		return err
	}
	if f.keeper, err = openLine(f.role.Line); err != nil {
		return err
	}
	if err := receiveSignals(func(r received) { f.events <- func() { f.signal(r) } }); err != nil {
		return err
	}
	go f.listenToKeeper()
	go f.wait()
	_ = f.keeper.Send(frontMessage{Hello: true})
	for f.ended == nil {
		(<-f.events)()
	}
	return nil
}

// wait reaps the keeper, the hand, and orphans of a hand that was killed.
func (f *front) wait() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		f.events <- func() { f.reaped(pid, status) }
	}
}

func (f *front) reaped(pid int, status unix.WaitStatus) {
	switch pid {
	case f.role.Keeper:
		f.ended = &status
	case f.handPid:
		f.running = false
		f.handPid = 0
		// What a killed hand has left has come to this process.
		killDescendants(f.role.Keeper)
	default:
		if f.handPid == 0 {
			killDescendants(f.role.Keeper)
		}
	}
}

func (f *front) listenToKeeper() {
	for {
		var message frontMessage
		files, err := f.keeper.Receive(&message)
		if err != nil {
			return // it has ended, or is about to: wait says so
		}
		if message.Build && len(files) == 1 {
			f.events <- func() { f.build(files[0]) }
		}
	}
}

// build starts the hand in namespaces of its own.
func (f *front) build(orders *os.File) {
	defer orders.Close()
	pid, line, err := startHand(orders, f.role.Mask)
	answer := frontMessage{Hand: pid}
	if err != nil {
		if !errors.As(err, &answer.Errno) {
			answer.Errno = unix.EIO
		}
	} else {
		f.hand, f.handPid = line, pid
		go f.listenToHand(line)
	}
	_ = f.keeper.Send(answer)
}

func (f *front) listenToHand(line *cue.Line) {
	for {
		var message handMessage
		if _, err := line.Receive(&message); err != nil {
			return
		}
		f.events <- func() {
			if message.Running != nil {
				f.running = *message.Running
				f.begun()
			}
			// It may be old news: who stops the whole group stops this process
			// before it hears of it.
			if message.Stopped != 0 && stopped(message.Command) {
				stopSelf(message.Stopped)
			}
		}
	}
}

// begun tells the keeper what was sent to the group before the command was in it,
// and has not come to this process's notice yet.
func (f *front) begun() {
	if !f.running {
		return
	}
	for _, heard := range f.ear.all() {
		if slices.Contains(caught, heard.Signal) {
			_ = f.keeper.Send(frontMessage{Signal: heard.Signal})
		}
	}
}

// signal passes on what was sent to this process: to the command while it runs,
// else to the keeper.
func (f *front) signal(r received) {
	heard, group := f.ear.group(r.Signal) // also if that is not asked, or begun would tell it again
	if f.running {
		// What the terminal sends is for its foreground alone, and the hand only
		// wakes this process when the command was continued.
		if heard.Code != fromTerminal && int(r.Sender) != f.handPid {
			_ = f.hand.Send(handMessage{Signal: r.Signal, Group: group})
		}
		return
	}
	switch r.Signal {
	case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		stopSelf(r.Signal)
	case unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM:
		_ = f.keeper.Send(frontMessage{Signal: r.Signal})
	}
}

// endHand ends the hand, if it has not ended, and with it all that is in the
// stage.
func (f *front) endHand() {
	if f.handPid == 0 {
		return
	}
	f.hand.Close()
	force := time.AfterFunc(handGrace, func() {
		f.events <- func() { killDescendants(f.role.Keeper) }
	})
	defer force.Stop()
	for f.handPid != 0 {
		(<-f.events)()
	}
}

// namespaces that the stage has of its own. Processes, IPC, cgroups and clocks
// are the host's.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS

// handCapabilities are kept over execve by the ambient set: an ordinary user's
// process would lose them.
var handCapabilities = []uintptr{
	unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE, unix.CAP_SETPCAP,
}

func startHand(orders *os.File, mask unix.Sigset_t) (int, *cue.Line, error) {
	line, far, err := cue.Pair()
	if err != nil {
		return 0, nil, err
	}
	defer far.Close()
	attributes := &syscall.SysProcAttr{
		Cloneflags:  namespaces,
		AmbientCaps: handCapabilities,
	}
	mapIDs(attributes)
	farFd, ordersFd := int(far.Fd()), int(orders.Fd())
	pid, err := fork(&syscall.ProcAttr{Files: []uintptr{0, 1, 2}, Sys: attributes}, []string{"stage"},
		role{Role: roleHand, Line: farFd, Orders: ordersFd, Mask: mask}, farFd, ordersFd)
	if err != nil {
		line.Close()
		return 0, nil, fmt.Errorf("starting the hand: %w", err)
	}
	return pid, line, nil
}

// mapIDs maps an ordinary user to itself, which is all that may be mapped
// without help. Root keeps every id that it has.
func mapIDs(attributes *syscall.SysProcAttr) {
	if os.Geteuid() == 0 {
		attributes.UidMappings, attributes.GidMappings = readMap("uid_map"), readMap("gid_map")
		// What this user namespace denies cannot be allowed in one below it.
		denied, _ := os.ReadFile("/proc/self/setgroups")
		attributes.GidMappingsEnableSetgroups = strings.TrimSpace(string(denied)) != "deny"
	}
	if len(attributes.UidMappings) == 0 || len(attributes.GidMappings) == 0 {
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		attributes.GidMappingsEnableSetgroups = false
	}
}

func readMap(file string) []syscall.SysProcIDMap {
	data, err := os.ReadFile("/proc/self/" + file)
	if err != nil {
		return nil
	}
	return identity(string(data))
}

// identity maps each range of a uid_map or gid_map to itself.
func identity(text string) []syscall.SysProcIDMap {
	var mappings []syscall.SysProcIDMap
	for line := range strings.Lines(text) {
		var inside, outside, size int
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil {
			return nil
		}
		mappings = append(mappings, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: size})
	}
	return mappings
}
