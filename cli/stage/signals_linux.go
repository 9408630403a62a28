package stage

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unread are signals that a user sends to a command and that the front takes
// from a signalfd. They are blocked, as those that stop shall stop the front
// only when the command has stopped.
var unread = []syscall.Signal{
	unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGWINCH,
}

// caught are the others: Go's runtime lets no thread block them.
var caught = []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}

func unreadSet() *unix.Sigset_t {
	var set unix.Sigset_t
	for _, signal := range unread {
		addSignal(&set, signal)
	}
	return &set
}

func addSignal(set *unix.Sigset_t, signal syscall.Signal) {
	bits := uint(unsafe.Sizeof(set.Val[0]) * 8)
	number := uint(signal) - 1
	set.Val[number/bits] |= 1 << (number % bits)
}

// received is one signal with what the kernel says of its origin, where it can
// be had.
type received struct {
	Signal syscall.Signal
	Code   int32
	Sender uint32
}

// fromTerminal is the code SI_KERNEL of <asm-generic/siginfo.h>.
const fromTerminal = 0x80

// receiveSignals calls each for every signal that comes from now on. A signal that was
// ignored when this process was started stays so, for the command too.
func receiveSignals(each func(received)) error {
	fd, err := unix.Signalfd(-1, unreadSet(), unix.SFD_CLOEXEC|unix.SFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("opening a signalfd: %w", err)
	}
	go readSignals(os.NewFile(uintptr(fd), "signals"), each)
	arriving := make(chan os.Signal, 64)
	for _, number := range caught {
		if !signal.Ignored(number) {
			signal.Notify(arriving, number)
		}
	}
	go func() {
		for got := range arriving {
			if number, ok := got.(syscall.Signal); ok {
				each(received{Signal: number})
			}
		}
	}()
	return nil
}

func readSignals(file *os.File, each func(received)) {
	const size = int(unsafe.Sizeof(unix.SignalfdSiginfo{}))
	buffer := make([]byte, 16*size)
	for {
		n, err := file.Read(buffer)
		if err != nil {
			return
		}
		for info := buffer[:n]; len(info) >= size; info = info[size:] {
			each(parseSignal(info))
		}
	}
}

// parseSignal reads a struct signalfd_siginfo.
func parseSignal(info []byte) received {
	return received{
		Signal: syscall.Signal(binary.NativeEndian.Uint32(info[0:])),
		Code:   int32(binary.NativeEndian.Uint32(info[8:])),
		Sender: binary.NativeEndian.Uint32(info[12:]),
	}
}

// stopSelf stops this process as the signal would have, had it not been
// blocked; it returns when the process has been continued.
func stopSelf(signal syscall.Signal) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// To this thread: what is sent to the process another thread may read from
	// the signalfd.
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), signal)
	if signal == unix.SIGSTOP {
		return
	}
	// The shell tells its user which signal it was. In a process group that no
	// shell watches the kernel ignores all but SIGSTOP. It is let in only now,
	// so that it and the same one sent to the process are one stop: both are
	// forgotten when the process is continued.
	var set, old unix.Sigset_t
	addSignal(&set, signal)
	if unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, &old) == nil {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	}
}
