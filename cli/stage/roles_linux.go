package stage

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage/cue"
)

// roleVariable tells the binary, run again, what it is. The command never sees
// it.
const roleVariable = "_UNDERSTUDY_STAGE"

const (
	roleFront  = "front"
	roleKeeper = "keeper"
	roleHand   = "hand"
	roleProbe  = "probe"
)

// role is the value of roleVariable, as JSON.
type role struct {
	Role string `json:"role"`
	// Line is the descriptor to the process that started this one; of the front
	// that to the keeper.
	Line int `json:"line"`
	// Orders is the hand's descriptor to the keeper.
	Orders int `json:"orders,omitempty"`
	// Keeper's pid, and the signals that were blocked before: for the front.
	Keeper int           `json:"keeper,omitempty"`
	Mask   unix.Sigset_t `json:"mask,omitempty"`
	Lost   SplitOptions  `json:"lost,omitzero"`
}

// kept is the keeper's role from Main to Split.
var kept *role

func init() {
	if _, ok := os.LookupEnv(roleVariable); ok {
		// The command gets SIGKILL when the thread that started it ends
		// (PDEATHSIG goes by threads), and only the first thread lasts. So for
		// the hand's command and the front's ear.
		runtime.LockOSThread()
	}
}

// Main catches the processes that are this binary in another role than that
// which the user started; for those it does not return. To be called first in
// main.
func Main() {
	value, ok := os.LookupEnv(roleVariable)
	if !ok {
		return
	}
	_ = os.Unsetenv(roleVariable)
	var r role
	if err := json.Unmarshal([]byte(value), &r); err != nil {
		fmt.Fprintf(os.Stderr, "error: reading %s: %v\n", roleVariable, err)
		os.Exit(2)
	}
	if r.Role == roleProbe {
		os.Exit(runProbe())
	}
	unix.CloseOnExec(r.Line)
	switch r.Role {
	case roleFront:
		name("understudy")
		os.Exit(runFront(r))
	case roleHand:
		unix.CloseOnExec(r.Orders)
		name("stage") // so that it outlives a killall of the others, and ends the command
		os.Exit(runHand(r))
	case roleKeeper:
		runtime.UnlockOSThread() // as locked by init
		name("understudy")
		closeInherited(r.Line)
		kept = &r
	}
}

func name(name string) {
	_ = os.WriteFile("/proc/self/comm", []byte(name), 0)
}

// closeInherited closes what the shell handed to the command, so that a reader
// of such a pipe sees its end when the command does.
func closeInherited(except int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd <= 2 || fd == except {
			continue
		}
		// All that this process opened itself is closed on exec.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// Split parts the process that the shell started in two. In the keeper, which
// is this binary run again with the same arguments, it returns the front; in
// the process that the shell started it returns only an error, else that
// process has become the front.
func Split(options SplitOptions) (*Front, error) {
	if kept != nil {
		return newFront(*kept)
	}
	if options.LostExitCode == 0 {
		options.LostExitCode = 125
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket pair: %w", err)
	}
	near, far := ends[0], ends[1]
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("starting the keeper: %w", err)
	}
	pid, err := fork(&syscall.ProcAttr{
		Files: []uintptr{nothing.Fd(), 1, 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	}, os.Args, role{Role: roleKeeper, Line: far}, far)
	nothing.Close()
	unix.Close(far)
	if err != nil {
		unix.Close(near)
		return nil, fmt.Errorf("starting the keeper: %w", err)
	}
	err = becomeFront(role{Role: roleFront, Line: near, Keeper: pid, Lost: options})
	// Without a front the keeper ends by itself.
	return nil, fmt.Errorf("becoming the front: %w", err)
}

// becomeFront executes this binary once more, with signals blocked that are to
// be read from a signalfd: a process of Go has no other way to block them in
// all its threads.
func becomeFront(r role) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, unreadSet(), &r.Mask); err != nil {
		return fmt.Errorf("blocking signals: %w", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &r.Mask, nil) //nolint:errcheck // on the way out
	if _, err := unix.FcntlInt(uintptr(r.Line), unix.F_SETFD, 0); err != nil {
		return err
	}
	environment, err := environmentOf(r)
	if err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, environment)
}

// fork starts this binary in another role, with some descriptors kept open
// under their own numbers: the user's may have any other.
func fork(attributes *syscall.ProcAttr, args []string, r role, keep ...int) (int, error) {
	environment, err := environmentOf(r)
	if err != nil {
		return 0, err
	}
	attributes.Env = environment
	for _, fd := range keep {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return 0, err
		}
	}
	pid, err := syscall.ForkExec("/proc/self/exe", args, attributes)
	for _, fd := range keep {
		unix.CloseOnExec(fd)
	}
	return pid, err
}

func environmentOf(r role) ([]string, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	environment := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, roleVariable+"=")
	})
	return append(environment, roleVariable+"="+string(value)), nil
}

func openLine(fd int) (*cue.Line, error) { return cue.Open(os.NewFile(uintptr(fd), "line")) }
