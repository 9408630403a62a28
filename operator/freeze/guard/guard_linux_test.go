package guard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
	"understudy.dev/understudy/operator/freeze/record"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "guard" {
		os.Exit(Main())
	}
	freezetest.Main(m, map[string]freezetest.Role{"agent": agent})
}

// agent starts a guard by hand, one of whose two ways of hearing of its end is
// shut, and freezes. What it is told is: how, podUID, id, directory.
func agent(count func()) error {
	fields := strings.Split(os.Getenv("GUARD_TEST"), ",")
	how, dir := fields[0], record.Dir(fields[3])
	node := cgroup.Node{}
	group, err := node.Find(cgroup.Container{PodUID: fields[1], ID: fields[2]})
	if err != nil {
		return err
	}
	self, err := record.Identify(os.Getpid())
	if err != nil {
		return err
	}
	r := record.Record{Session: "s", PodUID: fields[1], Agent: self, Frozen: []record.Frozen{{
		Container: cgroup.Container{PodUID: fields[1], ID: fields[2]}, Version: group.Version, Path: group.Path,
	}}}
	g, err := Start(node, "s", Command())
	if err != nil {
		return err
	}
	if err := dir.Claim(r); err != nil {
		return err
	}
	if err := g.Arm(context.Background(), dir, r, Now()+time.Hour); err != nil {
		return err
	}
	if err := group.Freeze(context.Background()); err != nil {
		return err
	}
	count()
	switch how {
	case "pidfd":
		// Somebody else has the agent's end of the socket too, and lives on.
		heir := exec.Command("/bin/sleep", "1000")
		heir.ExtraFiles = []*os.File{g.socket}
		if err := heir.Start(); err != nil {
			return err
		}
		if err := os.WriteFile(string(dir)+"/heir", fmt.Append(nil, heir.Process.Pid), 0o600); err != nil {
			return err
		}
		count()
		return unix.Kill(os.Getpid(), unix.SIGKILL)
	case "socket":
		g.socket.Close() // and lives on
		count()
	}
	select {}
}

func TestHearsOfTheAgentsEnd(t *testing.T) {
	for _, how := range []string{"pidfd", "socket"} {
		t.Run(how, func(t *testing.T) {
			pod := freezetest.NewPod(t, 2)
			app := pod.Start("count", pod.Dirs)
			dir := record.Dir(t.TempDir())
			freezetest.Start(t, "agent", nil, fmt.Sprintf("GUARD_TEST=%s,%s,%s,%s", how, pod.UID, pod.ID, dir))
			t.Cleanup(func() {
				if text, err := os.ReadFile(string(dir) + "/heir"); err == nil {
					var pid int
					fmt.Sscan(string(text), &pid)
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			})
			freezetest.Until(t, "the guard has undone it", func() bool {
				_, err := dir.Read("s")
				return errors.Is(err, fs.ErrNotExist)
			})
			pod.Moves(app)
		})
	}
}

// start starts a guard of this process.
func start(t *testing.T) *Guard {
	t.Helper()
	freezetest.NeedRoot(t)
	g, err := Start(cgroup.Node{}, "s", Command())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Dismiss(context.Background()) })
	return g
}

// A guard that was not armed has nothing to undo, whatever ends it.
func TestUnarmed(t *testing.T) {
	g := start(t)
	g.socket.Close()
	<-g.Ended()
}

func TestDismissUndoesNothing(t *testing.T) {
	pod := freezetest.NewPod(t, 2)
	app := pod.Start("count", pod.Dirs)
	group, err := cgroup.Node{}.Find(cgroup.Container{PodUID: pod.UID, ID: pod.ID})
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	dir := record.Dir(t.TempDir())
	r := record.Record{Session: "s", PodUID: pod.UID, Frozen: []record.Frozen{{
		Container: cgroup.Container{PodUID: pod.UID, ID: pod.ID}, Version: group.Version, Path: group.Path,
	}}}
	g := start(t)
	if err := g.Arm(t.Context(), dir, r, Now()+time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := group.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.Dismiss(t.Context())
	pod.Still(app)
	if g.Process.Lives() {
		t.Error("the guard lives")
	}
	if err := g.Arm(t.Context(), dir, r, Now()+time.Hour); !errors.Is(err, ErrEnded) {
		t.Errorf("Arm() = %v", err)
	}
	if err := g.Extend(Now()); !errors.Is(err, ErrEnded) {
		t.Errorf("Extend() = %v", err)
	}
}

// What a guard could not undo it does not take on.
func TestArmRefuses(t *testing.T) {
	g := start(t)
	r := record.Record{Session: "s", PodUID: "p", Frozen: []record.Frozen{{Version: cgroup.V2, Path: "/"}}}
	if err := g.Arm(t.Context(), record.Dir(t.TempDir()), r, Now()+time.Hour); err == nil {
		t.Error("it would thaw the root")
	}
}

// One that is stopped is not waited for.
func TestArmGivesUp(t *testing.T) {
	g := start(t)
	_ = unix.Kill(g.Process.PID, unix.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := g.Arm(ctx, record.Dir(t.TempDir()), record.Record{Session: "s"}, Now()+time.Hour); !errors.Is(err, ErrEnded) {
		t.Errorf("Arm() = %v", err)
	}
	if g.Process.Lives() {
		t.Error("it could undo later what others do")
	}
}

func TestExpires(t *testing.T) {
	g := start(t)
	dir := record.Dir(t.TempDir())
	if err := g.Arm(t.Context(), dir, record.Record{Session: "s"}, Now()+time.Hour); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.Expired():
		t.Fatal("expired at once")
	default:
	}
	if err := g.Extend(Now() - time.Second); err != nil {
		t.Fatal(err)
	}
	<-g.Expired()
	<-g.Ended()
}

// It is in no cgroup of its agent's.
func TestItsOwnCgroups(t *testing.T) {
	g := start(t)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", g.Process.PID))
	if err != nil {
		t.Fatal(err)
	}
	want := "/" + home + "/" + room("s", g.Process.PID)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if n := len(lines); n != len((cgroup.Node{}).Roots()) {
		t.Errorf("%d hierarchies, of which %d are mounted", n, len((cgroup.Node{}).Roots()))
	}
	if slices.ContainsFunc(lines, func(line string) bool { return !strings.HasSuffix(line, ":"+want) }) {
		t.Errorf("it is in\n%s, not only in %s", text, want)
	}
}
