package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/record"
)

// Guard is a guard as the agent sees it.
type Guard struct {
	// Process is the guard's.
	Process record.Process
	node    cgroup.Node
	session string
	cmd     *exec.Cmd
	socket  *os.File
	pipe    *os.File // of life
	// answers of the guard to orders that arm.
	answers chan answer
	expired chan struct{}
	ended   chan struct{}
	sending sync.Mutex
	arming  sync.Mutex
}

// Command is how a guard is started: this very program.
func Command() []string { return []string{"/proc/self/exe", "guard"} }

// Start starts a guard for a session. It undoes nothing until it is armed, and
// ends with this process.
func Start(node cgroup.Node, session string, command []string) (*Guard, error) {
	g := &Guard{node: node, session: session, answers: make(chan answer, 1), expired: make(chan struct{}), ended: make(chan struct{})}
	if err := g.start(command); err != nil {
		return nil, fmt.Errorf("starting the guard: %w", err)
	}
	if err := settle(node, g.cmd.Process.Pid, session); err != nil {
		g.Dismiss(context.Background())
		return nil, err
	}
	return g, nil
}

func (g *Guard) start(command []string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "guard"), os.NewFile(uintptr(pair[1]), "agent")
	defer theirs.Close()
	g.cmd = exec.Command(command[0], command[1:]...)
	g.cmd.ExtraFiles = []*os.File{theirs}
	own, err := g.life()
	if err != nil {
		ours.Close()
		return err
	}
	defer own.Close()
	g.cmd.ExtraFiles = append(g.cmd.ExtraFiles, own)
	// It needs little, and must not grow with the node's number of processors.
	g.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOMEMLIMIT=32MiB", "GOGC=100")
	g.cmd.Dir = "/"
	// A session of its own: no signal of a terminal or a process group meets it.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := g.cmd.Start(); err != nil {
		ours.Close()
		return err
	}
	g.socket = ours
	// A machine without memory ends others first; not every agent may ask for that.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", g.cmd.Process.Pid), []byte("-999"), 0)
	// It cannot be another's number yet: nobody has waited for it.
	g.Process, err = record.Identify(g.cmd.Process.Pid)
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		g.listen()
	}()
	go func() {
		defer close(g.ended)
		_ = g.cmd.Wait() // how it ended is in its own log
		<-listened       // what it said last is known before its end is
	}()
	return err
}

// life opens what can be read from when this process is no more: a pidfd of it,
// which Linux has since 5.3, or the end of a pipe that nobody else has.
func (g *Guard) life() (*os.File, error) {
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err == nil {
		return os.NewFile(uintptr(fd), "pidfd"), nil
	}
	read, write, err := os.Pipe()
	g.pipe = write
	return read, err
}

func (g *Guard) listen() {
	for {
		var a answer
		if err := receive(g.socket, &a); err != nil {
			return
		}
		if a.Expired {
			close(g.expired)
			return
		}
		g.answers <- a
	}
}

// ErrEnded is said when the guard is not there any more.
var ErrEnded = errors.New("the guard has ended")

// armWithin is what a guard has for an answer. One that is stopped is as good as
// ended.
const armWithin = 5 * time.Second

// Arm gives the guard what it would have to undo, and the deadline. When it
// returns nil the guard has it. The error is ErrEnded if the guard is not there
// any more, or does not answer and was killed.
func (g *Guard) Arm(ctx context.Context, dir record.Dir, r record.Record, until time.Duration) error {
	g.arming.Lock()
	defer g.arming.Unlock()
	if err := g.order(order{Dir: dir, Record: &r, Until: until}); err != nil {
		return fmt.Errorf("arming the guard: %w", err)
	}
	timer := time.NewTimer(armWithin)
	defer timer.Stop()
	select {
	case a := <-g.answers:
		if a.Error != "" {
			return fmt.Errorf("arming the guard: %s", a.Error)
		}
		return nil
	case <-g.ended:
		return fmt.Errorf("arming the guard: %w", ErrEnded)
	case <-timer.C:
	case <-ctx.Done():
	}
	// Its answer must not be taken for that to the next order.
	_ = g.cmd.Process.Kill()
	<-g.ended
	return fmt.Errorf("arming the guard, which did not answer: %w", errors.Join(ErrEnded, ctx.Err()))
}

// Extend moves the deadline. The error is ErrEnded if the guard is not there any
// more. One that does not take it is killed: it would go by the old deadline, and
// undo what the agent goes on with.
func (g *Guard) Extend(until time.Duration) error {
	err := g.order(order{Until: until})
	if err != nil && !errors.Is(err, ErrEnded) {
		_ = g.cmd.Process.Kill()
	}
	return err
}

func (g *Guard) order(o order) error {
	g.sending.Lock()
	defer g.sending.Unlock()
	_ = g.socket.SetWriteDeadline(time.Now().Add(time.Second))
	err := send(g.socket, o)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, os.ErrClosed) {
		err = ErrEnded
	}
	return err
}

// Expired is closed when the guard has said that the deadline has passed.
func (g *Guard) Expired() <-chan struct{} { return g.expired }

// HasExpired says whether Expired is closed.
func (g *Guard) HasExpired() bool {
	select {
	case <-g.expired:
		return true
	default:
		return false
	}
}

// Ended is closed when the guard's process is no more; then Expired is closed
// already, if it will be.
func (g *Guard) Ended() <-chan struct{} { return g.ended }

// Dismiss ends the guard without its undoing anything, and returns when it is no
// more. One that does not listen is killed.
func (g *Guard) Dismiss(ctx context.Context) {
	_ = g.order(order{Dismiss: true})
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-g.ended:
	case <-timer.C:
	case <-ctx.Done():
	}
	_ = g.cmd.Process.Kill()
	<-g.ended
	g.socket.Close()
	if g.pipe != nil {
		g.pipe.Close()
	}
	vacate(g.node, g.cmd.Process.Pid, g.session)
}
