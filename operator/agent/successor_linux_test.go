package agent

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/freeze/freezetest"
)

// Lines as the kernel shows them in a container.
const mountinfo = `22 1 0:20 / / rw - overlay overlay rw
30 22 8:1 /var/lib/kubelet/pods/00000000-0000-0000-0000-00000000000a/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw
31 22 8:1 /var/lib/kubelet/pods/00000000-0000-0000-0000-00000000000a/containers/worker/1f2e3d4c /dev/termination-log rw - ext4 /dev/sda1 rw
32 22 8:1 /var/lib/kubelet/pods/00000000-0000-0000-0000-00000000000b/containers/another/1f2e3d4c /planted rw - ext4 /dev/sda1 rw
`

func TestContainerName(t *testing.T) {
	for uid, want := range map[string]string{
		"00000000-0000-0000-0000-00000000000a": "worker",
		"00000000-0000-0000-0000-00000000000b": "another",
		"00000000-0000-0000-0000-00000000000c": "",
	} {
		if got := nameIn(bufio.NewScanner(strings.NewReader(mountinfo)), uid); got != want {
			t.Errorf("in pod %s it is %q, want %q", uid, got, want)
		}
	}
}

func TestPendingSignals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	for text, want := range map[string]uint64{
		"SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000004000\n": 0,
		"SigPnd:\t0000000000000100\nShdPnd:\t0000000000004000\n":                            1<<8 | 1<<14,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := pendingSignals(path); err != nil || got != want {
			t.Errorf("%q: %x, %v", text, got, err)
		}
	}
}

// A process that is asked to end while it is frozen is found out, and let go: its
// pod ends as it would have, not by force at the end of its grace period.
func TestToldToEnd(t *testing.T) {
	w := newNodeWorld(t)
	// One that takes the signal in its own time, as an application with a handler
	// does: what has none is ended by the kernel even while it is frozen.
	dir := t.TempDir()
	script := exec.Command("/bin/sh", "-c", `trap 'echo ended > `+dir+`/ended; exit 0' TERM; while :; do sleep 0.01; done`)
	script.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- script.Wait() }()
	t.Cleanup(func() { _ = script.Process.Kill() })
	// It takes the target's place.
	_ = w.target.Cmd.Process.Kill()
	for _, group := range w.pod.Dirs {
		freezetest.Put(filepath.Join(group, "cgroup.procs"), strconv.Itoa(script.Process.Pid))
	}
	p := w.agent(nil)
	p.awaitReady()
	if err := script.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.awaitExit(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
	if err := <-exited; err != nil {
		t.Errorf("the process ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ended")); err != nil {
		t.Errorf("it did not end as it wanted: %v", err)
	}
}
