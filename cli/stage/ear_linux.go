package stage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ear is a process in the front's process group that does nothing but hear
// which signals are sent to the group: what comes to the front and to the ear
// came to the command as well, what comes to the front alone did not. Go tells
// nobody who sent a signal, and lets no thread block those that end a process,
// so the ear is a fork of the front that never runs Go's scheduler again: the
// few system calls of listen, with all signals blocked.
type ear struct {
	questions *os.File
	answers   *os.File
	heard     []heard // and not yet asked for
}

type heard struct {
	received
	at time.Time
}

// heardSize of struct signalfd_siginfo in bytes.
const heardSize = 128

// What the child uses is allocated before it is made.
var earMemory struct {
	set    unix.Sigset_t
	record [heardSize]byte
	asked  [1]byte
}

// startEar is called by the front's first thread, which it must not outlive.
func startEar() (*ear, error) {
	var question, answer [2]int
	if err := errors.Join(unix.Pipe2(question[:], unix.O_CLOEXEC), unix.Pipe2(answer[:], unix.O_CLOEXEC)); err != nil {
		return nil, fmt.Errorf("starting the ear: %w", err)
	}
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	earMemory.set = *unreadSet()
	for _, signal := range caught {
		addSignal(&earMemory.set, signal)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return nil, fmt.Errorf("starting the ear: %w", err)
	}
	defer unix.Close(question[0])
	defer unix.Close(answer[1])
	pid := forkEar(os.Getpid(), question[0], answer[1])
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	if pid < 0 {
		unix.Close(question[1])
		unix.Close(answer[0])
		return nil, fmt.Errorf("starting the ear: %w", syscall.Errno(-pid))
	}
	if err := unix.SetNonblock(answer[0], true); err != nil { // so that waiting may end
		return nil, fmt.Errorf("starting the ear: %w", err)
	}
	return &ear{questions: os.NewFile(uintptr(question[1]), "questions"), answers: os.NewFile(uintptr(answer[0]), "answers")}, nil
}

// forkEar returns the child's pid, or an error as a negative number. In the
// child it does not return. All signals are blocked in the calling thread.
//
//go:norace
//go:nosplit
func forkEar(parent, questions, answers int) int {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return -int(errno)
	}
	if pid != 0 {
		return int(pid)
	}
	listen(parent, questions, answers)
	return 0
}

// listen answers each byte of questions with all signals heard since the last,
// and a record of zeros. It allocates nothing, and calls nothing but the
// kernel.
//
//go:norace
//go:nosplit
func listen(parent, questions, answers int) {
	m := &earMemory
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0, 0)
	if self, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0); int(self) != parent {
		exitEar()
	}
	signals, _, errno := syscall.RawSyscall6(syscall.SYS_SIGNALFD4, ^uintptr(0), uintptr(unsafe.Pointer(&m.set)), 8, unix.SFD_NONBLOCK, 0, 0)
	if errno != 0 {
		exitEar()
	}
	// Not even the terminal is kept open.
	for fd := uintptr(0); fd < closeUpTo; fd++ {
		if fd != signals && int(fd) != questions && int(fd) != answers {
			_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
		}
	}
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(questions), uintptr(unsafe.Pointer(&m.asked)), 1)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n != 1 {
			exitEar()
		}
		for {
			n, _, errno := syscall.RawSyscall(syscall.SYS_READ, signals, uintptr(unsafe.Pointer(&m.record)), heardSize)
			if errno == syscall.EINTR {
				continue
			}
			if errno != 0 || n != heardSize {
				break
			}
			_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(answers), uintptr(unsafe.Pointer(&m.record)), heardSize)
		}
		m.record = [heardSize]byte{}
		_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(answers), uintptr(unsafe.Pointer(&m.record)), heardSize)
	}
}

// closeUpTo this descriptor: what a shell hands on has low numbers.
const closeUpTo = 256

//go:norace
//go:nosplit
func exitEar() {
	for {
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// An answer takes microseconds, and never comes from an ear that somebody has
// stopped. Two arrivals of one signal are as close, unless one was swallowed.
const (
	earTimeout   = 500 * time.Millisecond
	earMemoryFor = time.Second
)

// group finds what the ear has heard of a signal that came to the front: false
// if it was sent to the front alone. The kernel signals the younger members of
// a group first, so by now the ear has it.
func (e *ear) group(signal syscall.Signal) (received, bool) {
	if !e.listen() {
		return received{}, false
	}
	e.heard = slices.DeleteFunc(e.heard, func(h heard) bool { return time.Since(h.at) > earMemoryFor })
	at := slices.IndexFunc(e.heard, func(h heard) bool { return h.Signal == signal })
	if at < 0 {
		return received{Signal: signal}, slices.ContainsFunc(e.heard, func(h heard) bool { return cancels(h.Signal, signal) })
	}
	found := e.heard[at].received
	e.heard = slices.Delete(e.heard, at, at+1)
	return found, true
}

// all is what the ear has heard and nobody has asked for; it is forgotten.
func (e *ear) all() []heard {
	e.listen()
	all := e.heard
	e.heard = nil
	return all
}

// listen takes over what the ear has heard; false where there is no ear any more.
func (e *ear) listen() bool {
	if e.questions == nil {
		return false
	}
	if err := e.ask(); err != nil {
		e.questions.Close() // which ends the ear
		e.questions = nil
		return false
	}
	return true
}

// cancels says whether a signal makes the kernel forget another that is
// pending: when it has come to the ear, the other may have come before it.
func cancels(signal, pending syscall.Signal) bool {
	stops := func(signal syscall.Signal) bool {
		return signal == unix.SIGTSTP || signal == unix.SIGTTIN || signal == unix.SIGTTOU
	}
	return stops(signal) && pending == unix.SIGCONT || signal == unix.SIGCONT && stops(pending)
}

func (e *ear) ask() error {
	if _, err := e.questions.Write([]byte{0}); err != nil {
		return err
	}
	if err := e.answers.SetReadDeadline(time.Now().Add(earTimeout)); err != nil {
		return err
	}
	for {
		var record [heardSize]byte
		if _, err := io.ReadFull(e.answers, record[:]); err != nil {
			return err
		}
		signal := parseSignal(record[:])
		if signal.Signal == 0 {
			return nil
		}
		e.heard = append(e.heard, heard{signal, time.Now()})
	}
}
