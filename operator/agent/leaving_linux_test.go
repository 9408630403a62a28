package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze"
	"understudy.dev/understudy/operator/freeze/freezetest"
)

// What is sent to have a configuration read again, or from a terminal, asks nobody
// to end: it waits with the process until that is thawed.
func TestEndSignals(t *testing.T) {
	// A test that was started by nohup ignores this one, and a shell could not trap it.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangup) })
	for signal, want := range map[syscall.Signal]string{
		syscall.SIGTERM: "SIGTERM", syscall.SIGQUIT: "SIGQUIT", syscall.SIGHUP: "", syscall.SIGINT: "", syscall.SIGUSR1: "",
	} {
		t.Run(signal.String(), func(t *testing.T) {
			script := exec.Command("/bin/sh", "-c", `trap : HUP INT TERM QUIT USR1; echo; while :; do sleep 0.01; done`)
			script.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			out, err := script.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := script.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = script.Process.Kill()
				_ = script.Wait()
			})
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			pid := script.Process.Pid
			path := "/proc/" + strconv.Itoa(pid) + "/status"
			if err := script.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			// Of two that are pending the smaller number comes first.
			freezetest.Until(t, "it is stopped", func() bool {
				status, err := os.ReadFile(path)
				return err == nil && strings.Contains(string(status), "State:\tT")
			})
			if err := script.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			freezetest.Until(t, "the signal waits", func() bool {
				pending, err := pendingSignals(path)
				return err == nil && pending&(1<<(signal-1)) != 0
			})
			if _, got := toldToEnd([]int{pid}); got != want {
				t.Errorf("toldToEnd() = %q, want %q", got, want)
			}
		})
	}
}

// heeds starts a process in the target's place that takes signals in its own time,
// as an application with a handler does: what has none is ended by the kernel even
// while it is frozen.
func (w *nodeWorld) heeds(script string) (process *exec.Cmd, exited chan error) {
	w.t.Helper()
	process = exec.Command("/bin/sh", "-c", script)
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := process.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		w.t.Fatal(err)
	}
	exited = make(chan error, 1)
	if _, err := out.Read(make([]byte, 1)); err != nil {
		w.t.Fatal(err)
	}
	go func() { exited <- process.Wait() }()
	w.t.Cleanup(func() { _ = process.Process.Kill() })
	_ = w.target.Cmd.Process.Kill()
	for _, group := range w.pod.Dirs {
		freezetest.Put(filepath.Join(group, "cgroup.procs"), strconv.Itoa(process.Process.Pid))
	}
	return process, exited
}

func frozenNow(dirs map[int]string) bool {
	data, _ := os.ReadFile(filepath.Join(dirs[2], "cgroup.events"))
	return strings.Contains(string(data), "frozen 1")
}

// A container that is told to end while it is frozen, as the kubelet tells one that
// it restarts, ends as it wants; the fence stays, and what is started in its place
// is frozen.
func TestToldToEnd(t *testing.T) {
	w := newNodeWorld(t)
	dir := t.TempDir()
	process, exited := w.heeds(`trap 'echo ended > ` + dir + `/ended; exit 0' TERM; echo; while :; do sleep 0.01; done`)
	p := w.agent(func(c *settings.Config) { c.Freeze.GraceSeconds = 30 })
	p.awaitReady()
	freezetest.Until(t, "it is frozen", func() bool { return frozenNow(w.pod.Dirs) })
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-exited; err != nil {
		t.Errorf("the process ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ended")); err != nil {
		t.Errorf("it did not end as it wanted: %v", err)
	}
	if names, err := fence.Sessions(w.network.File()); err != nil || len(names) != 1 {
		t.Errorf("the fence is %v, %v", names, err)
	}
	_, dirs := w.pod.Another()
	again := w.start(dirs, "MARK=of the target started again")
	freezetest.Until(t, "the new container is frozen", func() bool { return frozenNow(dirs) })
	w.pod.Still(again)
	if !p.isReady() {
		t.Error("the session did not go on")
	}
	w.target = again
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.awaitExit(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	w.checkThawed()
}

// A guard that does not answer is given its time, and then replaced: neither the
// fence nor the session is lost by it.
func TestToldToEndBesideStoppedGuard(t *testing.T) {
	w := newNodeWorld(t)
	process, exited := w.heeds(`trap 'exit 0' TERM; echo; while :; do sleep 0.01; done`)
	p := w.agent(func(c *settings.Config) { c.Freeze.GraceSeconds = 30 })
	p.awaitReady()
	stopped := w.guard()
	if err := syscall.Kill(stopped, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-exited; err != nil {
		t.Errorf("the process ended with %v", err)
	}
	freezetest.Until(t, "there is another guard", func() bool { now := w.guard(); return now != 0 && now != stopped })
	if names, err := fence.Sessions(w.network.File()); err != nil || len(names) != 1 {
		t.Errorf("the fence is %v, %v", names, err)
	}
	if !p.isReady() {
		t.Error("the session did not go on")
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.awaitExit(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
}

// One that was told to end and does not is frozen again after its grace period.
func TestToldToEndInVain(t *testing.T) {
	w := newNodeWorld(t)
	process, _ := w.heeds(`trap : TERM; echo; while :; do sleep 0.01; done`)
	p := w.agent(func(c *settings.Config) { c.Freeze.GraceSeconds = 1 })
	p.awaitReady()
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	freezetest.Until(t, "it is thawed", func() bool { return !frozenNow(w.pod.Dirs) })
	freezetest.Until(t, "it is frozen again", func() bool { return frozenNow(w.pod.Dirs) })
	if !p.isReady() {
		t.Error("the session did not go on")
	}
	// It is told once more: that counts as the first time did.
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	freezetest.Until(t, "it is thawed", func() bool { return !frozenNow(w.pod.Dirs) })
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.awaitExit(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
}

func TestWhyEnds(t *testing.T) {
	look := errors.New("the container cannot be frozen")
	for _, test := range []struct {
		hold, asked, look error
		want              string
	}{
		{nil, nil, look, "the container cannot be frozen"},
		{nil, context.Canceled, fmt.Errorf("%w: %w", look, context.Canceled), "it was asked to end"},
		{freeze.ErrExpired, nil, fmt.Errorf("%w: %w", look, freeze.ErrExpired), "the lease has run out"},
		{nil, nil, fmt.Errorf("%w: %w", look, freeze.ErrExpired), "the lease has run out"},
		{freeze.ErrUnguarded, context.Canceled, look, "no guard can be made"},
	} {
		if got := whyEnds(test.hold, test.asked, test.look); got != test.want {
			t.Errorf("whyEnds(%v, %v, %v) = %q, want %q", test.hold, test.asked, test.look, got, test.want)
		}
	}
}

// Of several whose parents are elsewhere the oldest is the first, whatever their
// numbers: those begin anew.
func TestFirstOf(t *testing.T) {
	start := func() *exec.Cmd {
		process := exec.Command("/bin/sleep", "1000")
		process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = process.Process.Kill()
			_ = process.Wait()
		})
		return process
	}
	first := start().Process.Pid
	_, since, err := originOf(first)
	if err != nil {
		t.Fatal(err)
	}
	var second int
	freezetest.Until(t, "a tick of the clock has passed", func() bool {
		second = start().Process.Pid
		_, later, err := originOf(second)
		return err == nil && later > since
	})
	if got := firstOf([]int{second, first}); got != first {
		t.Errorf("firstOf() = %d, want %d", got, first)
	}
	_, later, _ := originOf(second)
	if parent, _, err := originOf(second); err != nil || parent != os.Getpid() || later <= since {
		t.Errorf("originOf() = %d, %d, %v", parent, later, err)
	}
}
