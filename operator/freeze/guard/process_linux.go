package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/record"
)

// What the agent hands over, by number.
const (
	fdSocket = 3
	fdAgent  = 4
)

// A guard that cannot thaw tries again for this long. Then the record stays for
// the next agent.
const (
	tryFor    = 2 * time.Minute
	tryWithin = 10 * time.Second
	tryEvery  = 200 * time.Millisecond
)

// Main is the guard's whole life, to be called when the program is started as
// the guard. cleanups take away what is not a freeze. It returns the exit code.
func Main(cleanups ...record.Cleanup) int {
	// Nobody tells a guard to end but its agent. When the machine is shut down
	// the agent is told as well, and ends. A guard that undid by itself what an
	// agent goes on with would leave a container frozen without its fence.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGPIPE)
	unix.CloseOnExec(fdSocket)
	unix.CloseOnExec(fdAgent)
	g := &process{
		socket: os.NewFile(fdSocket, "agent"),
		undoer: record.Undoer{Cleanups: cleanups},
		log:    slog.New(slog.DiscardHandler),
	}
	why := g.watch()
	if why == dismissed {
		return 0 // the agent takes its cgroups away
	}
	return g.undo(why)
}

// reason why the watch ended.
type reason string

const (
	dismissed  reason = "dismissed"
	agentEnded reason = "the agent has ended"
	agentLeft  reason = "the agent has closed the connection"
	expired    reason = "the lease has run out"
)

type process struct {
	socket *os.File
	undoer record.Undoer
	dir    record.Dir
	// record is nil as long as there is nothing to undo.
	record *record.Record
	netns  *os.File
	log    *slog.Logger
}

// watch returns when it is over, and why.
func (g *process) watch() reason {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		awaitInput(fdAgent)
	}()
	arrived := make(chan struct{})
	go func() {
		for {
			awaitInput(fdSocket)
			arrived <- struct{}{}
		}
	}()
	deadline := newAlarm()
	for {
		select {
		case <-gone:
			return agentEnded
		case <-arrived:
		case <-deadline.rang:
		}
		// What it was told comes first: a guard that has not run for a while finds
		// the deadline past and the order that moved it.
		if why := g.obey(deadline); why != "" {
			return why
		}
		if deadline.past() {
			if err := send(g.socket, answer{Expired: true}); err != nil {
				g.log.Warn("telling the agent that the lease has run out", "error", err)
			}
			return expired
		}
	}
}

// obey does all that the agent has told so far, and says why it is over, if it is.
func (g *process) obey(deadline *alarm) reason {
	for {
		var o order
		ok, err := receiveNow(fdSocket, &o)
		switch {
		case err != nil:
			return agentLeft
		case !ok:
			return ""
		case o.Dismiss:
			return dismissed
		}
		if o.Until > 0 {
			if err := deadline.set(o.Until); err != nil {
				g.log.Error("setting the deadline", "error", err)
			}
		}
		if o.Record == nil {
			continue
		}
		reply := answer{Armed: true}
		if err := g.arm(o); err != nil {
			reply = answer{Error: err.Error()}
		}
		if err := send(g.socket, reply); err != nil {
			return agentLeft
		}
	}
}

// arm sees to it that what will be needed can be had.
func (g *process) arm(o order) error {
	if g.record == nil {
		g.log = openLog(o.Dir, o.Record.Session)
	}
	if g.netns == nil && len(g.undoer.Cleanups) > 0 {
		// Kept open: the pod's processes may all be gone when it is needed.
		ns, err := g.undoer.Node.NetworkNamespace(o.Record.PodUID)
		if err != nil {
			return err
		}
		g.netns = ns
	}
	for _, frozen := range o.Record.Frozen {
		group, err := g.undoer.Node.Open(frozen.Version, frozen.Path)
		if errors.Is(err, cgroup.ErrGone) {
			continue
		}
		if err != nil {
			return fmt.Errorf("opening the cgroup of %v: %w", frozen.Container, err)
		}
		group.Close()
	}
	g.dir, g.record = o.Dir, o.Record
	return nil
}

// undo undoes until it is done, and returns the exit code.
func (g *process) undo(why reason) int {
	if g.record == nil {
		g.leave()
		return 0
	}
	g.log.Info("undoing", "reason", string(why))
	found := g.undoer.Frozen(*g.record)
	end := time.Now().Add(tryFor)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), tryWithin)
		err := g.undoer.Undo(ctx, *g.record, g.netns)
		cancel()
		if err == nil {
			g.leaveWord(found, why) // whoever sees that the record is gone finds it
			err = g.dir.Remove(g.record.Session)
		}
		if err == nil {
			g.log.Info("undone")
			g.leave()
			return 0
		}
		g.log.Error("undoing, to be tried again", "error", err)
		if time.Now().After(end) {
			g.leave()
			return 1
		}
		<-time.After(tryEvery)
	}
}

// leaveWord says to whoever comes later who has thawed, if this has.
func (g *process) leaveWord(found int, why reason) {
	if found == 0 {
		return
	}
	word := record.Word{Session: g.record.Session, PodUID: g.record.PodUID, By: "the guard", Why: string(why)}
	if err := g.dir.Leave(word); err != nil {
		g.log.Warn("leaving word", "error", err)
	}
}

// awaitInput returns when there is something to read, or the other end is closed;
// a pidfd, or the end of a pipe, has that when its process has ended.
func awaitInput(fd int) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if n, err := unix.Poll(fds, -1); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// maxLog is the size at which the guards' log is begun anew.
const maxLog = 1 << 20

// openLog opens the guards' log beside the records: when a guard has something
// to say, there is often nobody left to read it elsewhere.
func openLog(dir record.Dir, session string) *slog.Logger {
	to := io.Discard
	path := filepath.Join(string(dir), "guard.log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		if info, err := f.Stat(); err == nil && info.Size() > maxLog {
			_ = f.Truncate(0)
		}
		to = f
	}
	return slog.New(slog.NewTextHandler(to, nil)).With("session", session, "pid", os.Getpid())
}
