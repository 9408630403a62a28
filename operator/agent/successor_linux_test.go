package agent

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/freeze/cgroup"
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

// A container is another by its name, or by having run beside the target: an agent
// that was slow to look must not take the target started again for another.
func TestSuccessor(t *testing.T) {
	for name, test := range map[string]struct {
		mounts string // the container whose file for the last word it has
		killed bool   // the target is, before the new one is looked at
		next   bool
	}{
		"nameless beside the target":                {"", false, false},
		"nameless in its place":                     {"", true, true},
		"of another's name beside the target":       {"sidecar", false, false},
		"of another's name when the target is gone": {"sidecar", true, false},
		"of the target's name":                      {"worker", true, true},
		"of the target's name, which is seen still": {"worker", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			f := &frozen{
				config: &settings.Config{Freeze: &settings.Freeze{PodUID: w.pod.UID, Container: "worker"}},
				target: cgroup.Container{PodUID: w.pod.UID, ID: w.pod.ID},
				others: map[string]bool{},
			}
			containers, err := f.node.Containers(w.pod.UID)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range containers {
				f.others[c.ID] = c != f.target
			}
			id, dirs := w.pod.Another()
			w.startMounting(dirs, test.mounts)
			if test.killed {
				_ = w.target.Cmd.Process.Kill()
				freezetest.Until(t, "the target is gone", func() bool {
					_, err := f.pids()
					return errors.Is(err, cgroup.ErrGone)
				})
			}
			next, ok, err := f.successor()
			if err != nil || ok != test.next || ok && next.ID != id {
				t.Errorf("successor() = %v, %v, %v", next, ok, err)
			}
			if f.others[id] == test.next || f.more == test.next {
				t.Errorf("it is let through the fence: %v, %v", f.others[id], f.more)
			}
		})
	}
}

// startMounting starts a process in those cgroups that has the mount by which a
// container's name is seen, or none.
func (w *nodeWorld) startMounting(dirs map[int]string, container string) {
	w.t.Helper()
	script := "exec sleep 1000"
	if container != "" {
		dir := filepath.Join(w.t.TempDir(), "pods", w.pod.UID, "containers", container, "1f2e3d4c")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			w.t.Fatal(err)
		}
		script = "mount --bind " + dir + " /mnt && " + script
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	freezetest.Until(w.t, "it runs its own program", func() bool {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/comm")
		return err == nil && strings.TrimSpace(string(text)) == "sleep"
	})
	for _, group := range dirs {
		freezetest.Put(filepath.Join(group, "cgroup.procs"), strconv.Itoa(cmd.Process.Pid))
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
