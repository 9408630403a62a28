package developer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Run is one command that was typed.
type Run struct {
	// Out and Err are what it has written to its standard output and error; on
	// a terminal both go to Out.
	Out, Err *Transcript
	// Terminal is where the person types, if the command has one.
	Terminal *os.File

	cmd    *exec.Cmd
	marker string
	done   chan struct{}
	// reading counts the outputs that are still open.
	reading sync.WaitGroup
}

// lastWords is how long a command that has ended is still listened to, where
// something that it left behind holds its output open.
const lastWords = 300 * time.Millisecond

// Understudy types an understudy command.
func (d *Developer) Understudy(args ...string) (*Run, error) {
	return d.Start(d.Program("understudy"), args...)
}

// Start types a command whose output goes to no terminal, and whose input is
// empty.
func (d *Developer) Start(program string, args ...string) (*Run, error) {
	r := d.prepare(program, args)
	out, err := r.Out.pipe(r)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	errs, err := r.Err.pipe(r)
	if err != nil {
		return nil, err
	}
	defer errs.Close()
	r.cmd.Stdout, r.cmd.Stderr = out, errs
	r.cmd.SysProcAttr.Setpgid = true
	return r, d.launch(r)
}

// StartOnTerminal types a command on a terminal of its own, as the leader of a
// session: a shell, usually, because it takes one to suspend and go on.
func (d *Developer) StartOnTerminal(program string, args ...string) (*Run, error) {
	r := d.prepare(program, args)
	near, far, err := openTerminal(d.machine.uid)
	if err != nil {
		return nil, err
	}
	defer far.Close()
	r.Terminal = near
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = far, far, far
	r.cmd.SysProcAttr.Setsid, r.cmd.SysProcAttr.Setctty = true, true
	if err := d.launch(r); err != nil {
		near.Close()
		return nil, err
	}
	go r.Out.readAll(near) // to the terminal's end, not the command's
	return r, nil
}

func (d *Developer) prepare(program string, args []string) *Run {
	r := &Run{Out: &Transcript{}, Err: &Transcript{}, marker: rand.Text(), done: make(chan struct{})}
	r.cmd = exec.Command(program, args...)
	r.cmd.Dir = d.Home
	r.cmd.Env = d.environment(r.marker)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Getuid() == 0 && !d.Root {
		r.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(d.machine.uid), Gid: uint32(d.machine.gid)}
	}
	return r
}

func (d *Developer) launch(r *Run) error {
	start := r.cmd.Start
	if d.Network != nil {
		start = func() error { return d.Network.Do(r.cmd.Start) }
	}
	if err := start(); err != nil {
		return fmt.Errorf("starting %v: %w", r.cmd.Args, err)
	}
	go func() {
		r.cmd.Wait() //nolint:errcheck // the exit code is read from its state
		read := make(chan struct{})
		go func() {
			r.reading.Wait()
			close(read)
		}()
		select {
		case <-read:
		case <-time.After(lastWords):
		}
		close(r.done)
	}()
	return nil
}

// PID is the process that was started.
func (r *Run) PID() int { return r.cmd.Process.Pid }

// Signal sends a signal to that process alone.
func (r *Run) Signal(s syscall.Signal) error { return r.cmd.Process.Signal(s) }

// Interrupt is Ctrl-C: the signal goes to all of the foreground's process group,
// as a terminal sends it.
func (r *Run) Interrupt() error { return syscall.Kill(-r.PID(), syscall.SIGINT) }

// Ended says whether the command has ended.
func (r *Run) Ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Exit waits for the command's end and returns its exit code as a shell would
// have it: 128 and the signal's number where a signal ended it.
func (r *Run) Exit(ctx context.Context) (int, error) {
	select {
	case <-r.done:
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for %v to end: %w", r.cmd.Args, context.Cause(ctx))
	}
	status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return 0, errors.New("the system does not say how a process ended")
	}
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// Kill ends everything that this command ever started and that still runs, all
// at once as when the machine is switched off: nobody has time to see another
// one go.
func (r *Run) Kill() {
	for _, p := range r.Processes() {
		syscall.Kill(p.PID, syscall.SIGSTOP) //nolint:errcheck // it may have ended
	}
	for _, p := range r.Processes() {
		syscall.Kill(p.PID, syscall.SIGKILL) //nolint:errcheck // it may have ended
	}
	if r.Terminal != nil {
		r.Terminal.Close()
	}
}

// String is what the command was and said, to be read when a story fails.
func (r *Run) String() string {
	return fmt.Sprintf("$ %v\n--- standard output\n%s--- standard error\n%s--- ended: %v\n", r.cmd.Args, r.Out, r.Err, r.Ended())
}
