package agent

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
)

// On a node with version 1 alone the users of all processes count, not of the
// first alone: a master is often root, and those that connect are not.
func TestScopeOfUsers(t *testing.T) {
	for name, test := range map[string]struct {
		target, sidecar []uint32
		indistinct      bool
	}{
		"apart":                           {target: []uint32{12000, 12001}, sidecar: []uint32{12002, 12003}},
		"the first are the same":          {target: []uint32{12000}, sidecar: []uint32{12000}, indistinct: true},
		"a later one of the target's":     {target: []uint32{12000, 12001}, sidecar: []uint32{12001}, indistinct: true},
		"a later one of the other's":      {target: []uint32{12000}, sidecar: []uint32{12002, 12000}, indistinct: true},
		"one that is first in neither":    {target: []uint32{12000, 12001}, sidecar: []uint32{12002, 12001}, indistinct: true},
		"the other one has many of a few": {target: []uint32{12000}, sidecar: []uint32{12002, 12003, 12002}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := freezetest.NewPod(t, 1)
			sidecar, dirs := pod.Another()
			inContainer(t, pod.Dirs[1], test.target)
			inContainer(t, dirs[1], test.sidecar)
			f := &frozen{
				config: &settings.Config{Freeze: &settings.Freeze{PodUID: pod.UID}}, log: slog.New(slog.DiscardHandler),
				node: cgroup.Node{Version: cgroup.V1}, target: cgroup.Container{PodUID: pod.UID, ID: pod.ID},
				others: map[string]bool{sidecar: true, pod.ID: false},
			}
			f.pod = newFrozenPod(f)
			scope, err := f.scopeOfUsers()
			if test.indistinct {
				if !errors.Is(err, fence.ErrIndistinct) {
					t.Errorf("got %+v, %v", scope, err)
				}
				return
			}
			want := slices.Compact(slices.Sorted(slices.Values(test.sidecar)))
			if err != nil || !slices.Equal(scope.SparedUsers, want) {
				t.Errorf("spared are %v, not %v; %v", scope.SparedUsers, want, err)
			}
		})
	}
}

// The pod's sandbox is of the user that the pod's own security context says, as the
// container is: it opens no sockets, so the two need not be told apart. What is
// younger than the container, or has a name, is a container itself.
func TestSandboxIsNoUser(t *testing.T) {
	for name, test := range map[string]struct {
		before, named bool // the other one is there before the target, and has a name
		indistinct    bool
	}{
		"a sandbox":                      {before: true},
		"an older container":             {before: true, named: true, indistinct: true},
		"a younger container":            {named: true, indistinct: true},
		"a younger one that has no name": {indistinct: true},
	} {
		t.Run(name, func(t *testing.T) {
			pod := freezetest.NewPod(t, 1)
			other, dirs := pod.Another()
			enterOther := func() {
				mounts := ""
				if test.named {
					mounts = "sidecar"
				}
				(&nodeWorld{t: t, pod: pod}).startMounting(dirs, mounts)
			}
			if test.before {
				enterOther()
				pids, err := processes(cgroup.Node{Version: cgroup.V1}, cgroup.Container{PodUID: pod.UID, ID: other})
				if err != nil {
					t.Fatal(err)
				}
				freezetest.Until(t, "whatever is started now is younger", func() bool { return uptime(t) > startOf(pids) })
			}
			inContainer(t, pod.Dirs[1], []uint32{0})
			if !test.before {
				enterOther()
			}
			f := &frozen{
				config: &settings.Config{Freeze: &settings.Freeze{PodUID: pod.UID}}, log: slog.New(slog.DiscardHandler),
				node: cgroup.Node{Version: cgroup.V1}, target: cgroup.Container{PodUID: pod.UID, ID: pod.ID},
				others: map[string]bool{other: true, pod.ID: false},
			}
			f.pod = newFrozenPod(f)
			scope, err := f.scopeOfUsers()
			if errors.Is(err, fence.ErrIndistinct) != test.indistinct || !test.indistinct && (err != nil || len(scope.SparedUsers) != 0) {
				t.Errorf("got %+v, %v", scope, err)
			}
		})
	}
}

// sidecar is a container's process of another user, which listens when it is told to.
func sidecar(count func()) error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	if err := syscall.Setuid(12001); err != nil {
		return err
	}
	count()
	<-told
	listener, err := net.Listen("tcp4", "0.0.0.0:9090")
	if err != nil {
		return err
	}
	count()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		_, _ = io.WriteString(conn, "sidecar")
		conn.Close()
	}
}

// A port that a sidecar opens while the container is frozen is let through, and that
// of the container, though it is open too, is not.
func TestPortOpenedLater(t *testing.T) {
	w := &nodeWorld{t: t, network: freezetest.NewNetwork(t), pod: freezetest.NewPod(t, 1), state: t.TempDir(), once: t.TempDir()}
	outside := freezetest.NewNetwork(t)
	freezetest.Connect(w.network, []string{"10.9.0.2/24"}, outside, []string{"10.9.0.1/24"})
	w.target = w.start(w.pod.Dirs)
	_, dirs := w.pod.Another()
	w.sidecar = w.network.Start("sidecar", []string{dirs[1]})
	p := w.agent(nil)
	p.awaitReady()
	w.network.Listen("10.9.0.2:8080")
	dial := func(address string) (said string) {
		outside.In(func() error {
			conn, err := net.DialTimeout("tcp", address, 10*time.Second)
			if err != nil {
				said = err.Error()
				return nil
			}
			defer conn.Close()
			data, _ := io.ReadAll(conn)
			said = string(data)
			return nil
		})
		return said
	}
	if err := w.sidecar.Cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	freezetest.Until(t, "the sidecar's port is let through", func() bool { return dial("10.9.0.2:9090") == "sidecar" })
	if said := dial("10.9.0.2:8080"); !strings.Contains(said, "refused") {
		t.Errorf("a port that no other container has: %s", said)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.awaitExit(); err != nil {
		t.Error(err)
	}
	w.checkThawed()
}

// uptime in the clock ticks that a process's start is given in, 100 each second.
func uptime(t *testing.T) uint64 {
	t.Helper()
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(data), " ")
	ticks, err := strconv.ParseUint(strings.ReplaceAll(text, ".", ""), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return ticks
}

// A machine that has version 2 mounted too, while the runtime uses version 1 alone:
// then the pod is told by its users, as where there is no version 2.
func TestScopeWhereThePodHasNoVersion2(t *testing.T) {
	freezetest.Root(t, 2)
	pod := freezetest.NewPod(t, 1)
	sidecar, dirs := pod.Another()
	inContainer(t, pod.Dirs[1], []uint32{12000})
	inContainer(t, dirs[1], []uint32{12001})
	f := &frozen{
		config: &settings.Config{Freeze: &settings.Freeze{PodUID: pod.UID}}, log: slog.New(slog.DiscardHandler),
		target: cgroup.Container{PodUID: pod.UID, ID: pod.ID},
		others: map[string]bool{sidecar: true, pod.ID: false},
	}
	f.pod = newFrozenPod(f)
	if scope, err := f.scope(); err != nil || !slices.Equal(scope.SparedUsers, []uint32{12001}) {
		t.Errorf("got %+v, %v", scope, err)
	}
}

func TestUsersIn(t *testing.T) {
	got, err := usersIn("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n")
	if err != nil || !slices.Equal(got, []uint32{1, 2, 3, 4}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, status := range []string{"Name:\tx\n", "Uid:\tx\n"} {
		if got, err := usersIn(status); err == nil {
			t.Errorf("of %q: %v", status, got)
		}
	}
}

// inContainer starts a process for each user in a container's cgroup.
func inContainer(t *testing.T, dir string, users []uint32) {
	t.Helper()
	for _, user := range users {
		cmd := exec.Command("cat")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
		procs, pid := filepath.Join(dir, "cgroup.procs"), strconv.Itoa(cmd.Process.Pid)
		freezetest.Put(procs, pid)
		if text, err := os.ReadFile(procs); err != nil || !slices.Contains(strings.Fields(string(text)), pid) {
			t.Fatalf("process %s is not in %s: %v", pid, dir, err)
		}
	}
}
