package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze/freezetest"
)

// What is sent to have a configuration read again, or from a terminal, asks nobody
// to end: it waits with the process until that is thawed.
func TestEndSignals(t *testing.T) {
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
