package freeze

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
	"understudy.dev/understudy/operator/freeze/guard"
	"understudy.dev/understudy/operator/freeze/record"
)

// How the agent of a test is told what to do, and where clean-ups leave a trace.
const (
	optionsVariable = "FREEZE_TEST_OPTIONS" // podUID,id,version,lease
	stateVariable   = "FREEZE_TEST_STATE"   // the directory of records
)

const session = "shop.worker-1"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "guard" {
		os.Exit(guard.Main(leaveTrace))
	}
	freezetest.Main(m, map[string]freezetest.Role{"agent": agent, "consumer": consumer})
}

// leaveTrace is a clean-up that says that it was called, and with what.
func leaveTrace(_ context.Context, session string, netns *os.File) error {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(netns.Fd()), &stat); err != nil || stat.Type != unix.NSFS_MAGIC {
		return fmt.Errorf("not a namespace: %x, %w", stat.Type, err)
	}
	return os.WriteFile(filepath.Join(os.Getenv(stateVariable), "cleaned"), []byte(session), 0o600)
}

// agent is the process of an agent: it freezes, renews with each SIGUSR1, and
// ends with SIGUSR2. Other signals do what they do.
func agent(count func()) error {
	fields := strings.Split(os.Getenv(optionsVariable), ",")
	version, err := strconv.Atoi(fields[2])
	if err != nil {
		return err
	}
	lease, err := time.ParseDuration(fields[3])
	if err != nil {
		return err
	}
	orders := make(chan os.Signal, 16)
	signal.Notify(orders, unix.SIGUSR1, unix.SIGUSR2)
	hold, err := Begin(context.Background(), Options{
		Session: session, Pod: "shop/worker-1", PodUID: fields[0], Lease: lease,
		Node:      cgroup.Node{Version: cgroup.Version(version)},
		Directory: record.Dir(os.Getenv(stateVariable)),
		Cleanups:  []record.Cleanup{leaveTrace},
		Log:       slog.New(slog.NewTextHandler(os.Stdout, nil)),
	})
	if err != nil {
		return err
	}
	if err := hold.Freeze(context.Background(), cgroup.Container{PodUID: fields[0], ID: fields[1]}); err != nil {
		return err
	}
	count()
	for {
		select {
		case order := <-orders:
			if order == unix.SIGUSR1 {
				err = hold.Renew(lease)
			} else {
				err = hold.End(context.Background())
			}
			if err != nil {
				return err
			}
			count()
		case <-hold.Done():
			select {}
		}
	}
}

// scene is a frozen container, its agent and its guard, each a process.
type scene struct {
	*freezetest.Pod
	t       *testing.T
	version int
	app     *freezetest.Process
	agent   *freezetest.Process
	dir     record.Dir
	lease   time.Duration
}

const longLease = 10 * time.Minute

func newScene(t *testing.T, version int, lease time.Duration) *scene {
	s := &scene{Pod: freezetest.NewPod(t, version), t: t, version: version, dir: record.Dir(t.TempDir()), lease: lease}
	s.app = s.Start("count", s.Dirs)
	s.agent = s.startAgent()
	s.Still(s.app)
	return s
}

// startAgent starts one in a pod of its own.
func (s *scene) startAgent() *freezetest.Process {
	s.t.Helper()
	return s.launchAgent(freezetest.Start)
}

func (s *scene) launchAgent(start func(testing.TB, string, []string, ...string) *freezetest.Process) *freezetest.Process {
	s.t.Helper()
	pod := freezetest.NewPod(s.t, slices.Collect(maps.Keys(s.Dirs))...)
	agent := start(s.t, "agent", slices.Collect(maps.Values(pod.Dirs)),
		optionsVariable+"="+fmt.Sprintf("%s,%s,%d,%s", s.UID, s.ID, s.version, s.lease),
		stateVariable+"="+string(s.dir), "GOTRACEBACK=none")
	go func() {
		for lines := bufio.NewScanner(agent.Out); lines.Scan(); {
			continue // else it would block when it has much to say
		}
	}()
	s.t.Cleanup(func() {
		if s.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(string(s.dir), "guard.log"))
			s.t.Logf("what the guards have said:\n%s", log)
		}
		// The test's own clean-up must not be what a guard is for, nor another made.
		_ = agent.Cmd.Process.Signal(unix.SIGSTOP)
		if r, err := s.dir.Read(session); err == nil && r.Guard.Lives() {
			_ = unix.Kill(r.Guard.PID, unix.SIGKILL)
		}
		guard.Sweep(cgroup.Node{})
	})
	return agent
}

func (s *scene) record() record.Record {
	s.t.Helper()
	r, err := s.dir.Read(session)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *scene) kill(pid int, signal syscall.Signal) {
	s.t.Helper()
	if err := unix.Kill(pid, signal); err != nil {
		s.t.Fatal(err)
	}
}

// undone waits until nothing is left of the session.
func (s *scene) undone() {
	s.t.Helper()
	s.Moves(s.app)
	freezetest.Until(s.t, "the record is removed", func() bool {
		_, err := s.dir.Read(session)
		return errors.Is(err, fs.ErrNotExist)
	})
	trace, err := os.ReadFile(filepath.Join(string(s.dir), "cleaned"))
	if err != nil || string(trace) != session {
		s.t.Errorf("the clean-up has left %q, %v", trace, err)
	}
	freezetest.Until(s.t, "the guard's cgroups are removed", func() bool { return len(s.rooms()) == 0 })
}

// rooms are the cgroups of guards of this test's agents.
func (s *scene) rooms() []string {
	var found []string
	for _, root := range (cgroup.Node{}).Roots() {
		rooms, _ := filepath.Glob(filepath.Join(root, "understudy", session+".*"))
		found = append(found, rooms...)
	}
	return found
}

// eachVersion runs a test for both of the kernel's freezers.
func eachVersion(t *testing.T, lease time.Duration, test func(t *testing.T, s *scene)) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) { test(t, newScene(t, version, lease)) })
	}
}

func TestEnd(t *testing.T) {
	eachVersion(t, longLease, func(t *testing.T, s *scene) {
		guard := s.record().Guard
		s.kill(s.agent.PID(), unix.SIGUSR2)
		s.undone()
		freezetest.Until(t, "the guard has ended", func() bool { return !guard.Lives() })
	})
}

// The guard alone: whatever ends the agent.
func TestGuardWhenTheAgentEnds(t *testing.T) {
	for _, signal := range []syscall.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGSEGV} {
		t.Run(unix.SignalName(signal), func(t *testing.T) {
			eachVersion(t, longLease, func(t *testing.T, s *scene) {
				s.kill(s.agent.PID(), signal)
				s.undone()
			})
		})
	}
}

// The guard is outside of the agent's pod: what ends all that is in there does
// not end it.
func TestGuardWhenTheAgentsPodEnds(t *testing.T) {
	s := newScene(t, 2, longLease)
	in, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", s.agent.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(in)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			freezetest.Put(filepath.Join(freezetest.Root(t, 2), filepath.Dir(path), "cgroup.kill"), "1")
		}
	}
	s.undone()
}

// In v1 what is frozen does not even die before it is thawed.
func TestGuardLetsTheKilledDie(t *testing.T) {
	s := newScene(t, 1, longLease)
	s.kill(s.app.PID(), unix.SIGKILL)
	app, err := record.Identify(s.app.PID())
	if err != nil || !app.Lives() {
		t.Fatalf("it has died while it was frozen: %v", err)
	}
	s.kill(s.agent.PID(), unix.SIGKILL)
	freezetest.Until(t, "the process that was killed dies", func() bool { return !app.Lives() })
}

// The guard alone: the agent is there and does nothing.
func TestGuardWhenTheLeaseEnds(t *testing.T) {
	eachVersion(t, 3*time.Second, func(t *testing.T, s *scene) {
		s.kill(s.agent.PID(), unix.SIGSTOP)
		s.undone()
		// It must not freeze again when it goes on.
		s.kill(s.agent.PID(), unix.SIGCONT)
		s.Moves(s.app)
		s.Moves(s.app)
		if _, err := s.dir.Read(session); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("there is a record again: %v", err)
		}
	})
}

// The agent alone: the guard is there and does nothing.
func TestAgentWhenTheLeaseEnds(t *testing.T) {
	eachVersion(t, 3*time.Second, func(t *testing.T, s *scene) {
		s.kill(s.record().Guard.PID, unix.SIGSTOP)
		s.undone()
	})
}

func TestRenewal(t *testing.T) {
	s := newScene(t, 2, 4*time.Second)
	// Twice the lease.
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
		s.kill(s.agent.PID(), unix.SIGUSR1)
		s.Still(s.app)
	}
	s.Still(s.app)
	s.undone()
}

func TestAnotherGuard(t *testing.T) {
	eachVersion(t, longLease, func(t *testing.T, s *scene) {
		first := s.record().Guard
		s.kill(first.PID, unix.SIGKILL)
		freezetest.Until(t, "there is another guard", func() bool {
			r, err := s.dir.Read(session)
			return err == nil && r.Guard != first && r.Guard.Lives()
		})
		s.Still(s.app)
		freezetest.Until(t, "the first one's cgroups are removed", func() bool {
			return !slices.ContainsFunc(s.rooms(), func(room string) bool { return strings.HasSuffix(room, "."+strconv.Itoa(first.PID)) })
		})
		// It is the agent's own from when it is armed: then a renewal gets to it.
		before := s.agent.Count()
		s.kill(s.agent.PID(), unix.SIGUSR1)
		freezetest.Until(t, "the agent goes on", func() bool { return s.agent.Count() > before })
		s.kill(s.agent.PID(), unix.SIGKILL)
		s.undone()
	})
}

// Whoever ends what he does not know does not end a guard.
func TestGuardIsDeaf(t *testing.T) {
	s := newScene(t, 2, longLease)
	first := s.record().Guard
	for _, signal := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT} {
		s.kill(first.PID, signal)
	}
	s.Still(s.app)
	if now := s.record().Guard; now != first || !now.Lives() {
		t.Errorf("the guard is %+v, was %+v", now, first)
	}
	s.kill(s.agent.PID(), unix.SIGKILL)
	s.undone()
}

// An agent that is killed between any two of its lines leaves nothing frozen: its
// guard alone sees to that. What it may leave is a record of what it had not
// begun, for the next agent.
func TestKilledAtAnyTime(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	eachFreezer := []int{1, 2}
	for run := range 20 {
		version := eachFreezer[run%2]
		s := &scene{Pod: freezetest.NewPod(t, version), t: t, version: version, dir: record.Dir(t.TempDir()), lease: longLease}
		s.app = s.Start("count", s.Dirs)
		after := time.Duration(random.IntN(150)) * time.Millisecond
		agent := s.launchAgent(freezetest.Launch)
		<-time.After(after)
		s.kill(agent.PID(), unix.SIGKILL)
		_ = agent.Cmd.Wait()
		freezetest.Until(t, fmt.Sprintf("nothing is frozen, run %d, killed after %v, having counted %d", run, after, agent.Count()), func() bool {
			return !s.frozen()
		})
		s.Moves(s.app)
		t.Setenv(stateVariable, string(s.dir))
		if _, err := Recover(t.Context(), s.dir, record.Undoer{Cleanups: []record.Cleanup{leaveTrace}}); err != nil {
			t.Fatal(err)
		}
		if left, err := s.dir.List(); err != nil || len(left) != 0 {
			t.Fatalf("left: %v, %v", left, err)
		}
		freezetest.Until(t, "the guard's cgroups are removed", func() bool {
			guard.Sweep(cgroup.Node{})
			return len(s.rooms()) == 0
		})
	}
}

func (s *scene) frozen() bool {
	group, err := cgroup.Node{Version: cgroup.Version(s.version)}.Find(cgroup.Container{PodUID: s.UID, ID: s.ID})
	if err != nil {
		return false
	}
	defer group.Close()
	state, err := group.State()
	return err == nil && state.Frozen
}

// The record alone: agent and guard are killed at once.
func TestRecover(t *testing.T) {
	eachVersion(t, longLease, func(t *testing.T, s *scene) {
		r := s.record()
		// Neither must be able to do anything between the two.
		s.kill(r.Guard.PID, unix.SIGSTOP)
		s.kill(s.agent.PID(), unix.SIGSTOP)
		s.kill(r.Guard.PID, unix.SIGKILL)
		s.kill(s.agent.PID(), unix.SIGKILL)
		freezetest.Until(t, "both are dead", func() bool { return !r.Guard.Lives() && !r.Agent.Lives() })
		s.Still(s.app)

		t.Setenv(stateVariable, string(s.dir))
		undone, err := Recover(t.Context(), s.dir, record.Undoer{Cleanups: []record.Cleanup{leaveTrace}})
		if err != nil || len(undone) != 1 || undone[0].Session != session {
			t.Fatalf("Recover() = %v, %v", undone, err)
		}
		s.undone()
	})
}

// An agent that is started in the place of one that was killed with its guard.
func TestRecoverByTheNextAgent(t *testing.T) {
	s := newScene(t, 2, longLease)
	r := s.record()
	s.kill(r.Guard.PID, unix.SIGSTOP)
	s.kill(s.agent.PID(), unix.SIGSTOP)
	s.kill(r.Guard.PID, unix.SIGKILL)
	s.kill(s.agent.PID(), unix.SIGKILL)
	freezetest.Until(t, "both are dead", func() bool { return !r.Guard.Lives() && !r.Agent.Lives() })
	s.agent = s.startAgent() // of the same session
	s.Still(s.app)
	if now := s.record(); now.Agent == r.Agent || now.Guard == r.Guard {
		t.Errorf("the record is still %+v", now)
	}
	s.kill(s.agent.PID(), unix.SIGUSR2)
	s.undone()
}

// Of an agent that lives nothing is undone.
func TestRecoverLeavesTheLivingAlone(t *testing.T) {
	s := newScene(t, 2, longLease)
	undone, err := Recover(t.Context(), s.dir, record.Undoer{})
	if err != nil || len(undone) != 0 {
		t.Errorf("Recover() = %v, %v", undone, err)
	}
	s.Still(s.app)
	if !s.record().Guard.Lives() {
		t.Error("the guard was ended")
	}
}

func TestThawedBySomebodyElse(t *testing.T) {
	eachVersion(t, longLease, func(t *testing.T, s *scene) {
		for range 3 {
			freezetest.ThawTree(s.Dirs[s.version])
			freezetest.Until(t, "it is frozen again", s.frozen)
			s.Still(s.app)
		}
		s.kill(s.agent.PID(), unix.SIGUSR2)
		s.undone()
	})
}

// begin is a hold in this process.
func begin(t *testing.T, pod *freezetest.Pod, name string, dir record.Dir, lease time.Duration, notices chan Notice) *Hold {
	t.Helper()
	t.Setenv(stateVariable, string(dir))
	hold, err := Begin(t.Context(), Options{
		Session: name, Pod: "shop/worker-1", PodUID: pod.UID, Lease: lease, Directory: dir,
		Cleanups: []record.Cleanup{leaveTrace},
		Notice: func(n Notice) {
			select {
			case notices <- n:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hold.End(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return hold
}

func TestHeldByAnother(t *testing.T) {
	s := newScene(t, 2, longLease)
	hold := begin(t, s.Pod, "other", s.dir, longLease, nil)
	err := hold.Freeze(t.Context(), cgroup.Container{PodUID: s.UID, ID: s.ID})
	var held *record.HeldError
	if !errors.As(err, &held) || held.By.Session != session || held.By.Agent.PID != s.agent.PID() {
		t.Fatalf("Freeze() = %v", err)
	}
	if err := hold.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Still(s.app)
	if !s.frozen() {
		t.Error("the first session's container was thawed")
	}
}

func TestLeaseEndsInTheAgent(t *testing.T) {
	pod := freezetest.NewPod(t, 2)
	app := pod.Start("count", pod.Dirs)
	hold := begin(t, pod, session, record.Dir(t.TempDir()), 2*time.Second, nil)
	if err := hold.Freeze(t.Context(), cgroup.Container{PodUID: pod.UID, ID: pod.ID}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-hold.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("it holds")
	}
	if err := hold.Err(); !errors.Is(err, ErrExpired) {
		t.Errorf("Err() = %v", err)
	}
	pod.Moves(app)
	if err := hold.Renew(time.Minute); !errors.Is(err, ErrExpired) {
		t.Errorf("Renew() = %v", err)
	}
	if err := hold.Freeze(t.Context(), cgroup.Container{PodUID: pod.UID, ID: pod.ID}); !errors.Is(err, ErrExpired) {
		t.Errorf("Freeze() = %v", err)
	}
}

// A container that ends is no error, and the next one is held as well.
func TestContainerIsRestarted(t *testing.T) {
	pod := freezetest.NewPod(t, 2)
	app := pod.Start("count", pod.Dirs)
	notices := make(chan Notice, 16)
	dir := record.Dir(t.TempDir())
	hold := begin(t, pod, session, dir, longLease, notices)
	first := cgroup.Container{PodUID: pod.UID, ID: pod.ID}
	if err := hold.Freeze(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	id, dirs := pod.Another()
	second := cgroup.Container{PodUID: pod.UID, ID: id}
	if err := hold.Freeze(t.Context(), second); !errors.Is(err, cgroup.ErrGone) {
		t.Fatalf("Freeze() of what does not run = %v", err)
	}
	_ = app.Cmd.Process.Kill()
	freezetest.Until(t, "the container is removed", func() bool { return freezetest.RemoveTree(pod.Dirs[2]) })
	for {
		if n := <-notices; n.Kind == NoticeGone && n.Container == first {
			break
		}
	}
	again := pod.Start("count", dirs)
	if err := hold.Freeze(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	pod.Still(again)
	if r, err := dir.Read(session); err != nil || len(r.Frozen) != 1 || r.Frozen[0].Container != second {
		t.Errorf("the record is %+v, %v", r, err)
	}
	if err := hold.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	pod.Moves(again)
}

// Of several containers all are frozen or none.
func TestAllOrNone(t *testing.T) {
	pod := freezetest.NewPod(t, 2)
	app := pod.Start("count", pod.Dirs)
	id, dirs := pod.Another()
	other := pod.Start("count", dirs)
	stuck := pod.Start("hang", dirs)
	dir := record.Dir(t.TempDir())
	hold := begin(t, pod, session, dir, longLease, nil)
	both := []cgroup.Container{{PodUID: pod.UID, ID: pod.ID}, {PodUID: pod.UID, ID: id}}
	if err := hold.Freeze(t.Context(), both...); !errors.Is(err, cgroup.ErrNotFrozen) {
		t.Fatalf("Freeze() = %v", err)
	}
	pod.Moves(app)
	pod.Moves(other)
	if r, err := dir.Read(session); err != nil || len(r.Frozen) != 0 {
		t.Errorf("the record is %+v, %v", r, err)
	}
	_ = stuck.Cmd.Process.Kill()
	_ = stuck.Cmd.Wait()
	if err := hold.Freeze(t.Context(), both...); err != nil {
		t.Fatal(err)
	}
	pod.Still(app)
	pod.Still(other)
	if err := hold.Freeze(t.Context(), both...); err != nil {
		t.Errorf("Freeze() again = %v", err)
	}
	if err := hold.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	pod.Moves(app)
	pod.Moves(other)
}

func TestForeignContainer(t *testing.T) {
	pod := freezetest.NewPod(t, 2)
	pod.Start("count", pod.Dirs)
	hold := begin(t, pod, session, record.Dir(t.TempDir()), longLease, nil)
	if err := hold.Freeze(t.Context(), cgroup.Container{PodUID: "other", ID: pod.ID}); err == nil {
		t.Error("a container of another pod was frozen")
	}
}

// What is to be frozen may be said when it begins: it is in the record by then.
func TestKnownFromTheBeginning(t *testing.T) {
	s := newScene(t, 2, longLease)
	pod := freezetest.NewPod(t, 2)
	app := pod.Start("count", pod.Dirs)
	container := cgroup.Container{PodUID: pod.UID, ID: pod.ID}
	t.Setenv(stateVariable, string(s.dir))
	options := func(c cgroup.Container) Options {
		return Options{Session: "other", PodUID: c.PodUID, Lease: longLease, Directory: s.dir, Containers: []cgroup.Container{c}}
	}
	var held *record.HeldError
	if _, err := Begin(t.Context(), options(cgroup.Container{PodUID: s.UID, ID: s.ID})); !errors.As(err, &held) {
		t.Errorf("what another session has: %v", err)
	}
	if _, err := Begin(t.Context(), options(cgroup.Container{PodUID: s.UID, ID: pod.ID})); !errors.Is(err, cgroup.ErrGone) {
		t.Errorf("what is not there: %v", err)
	}
	if _, err := s.dir.Read("other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a record was left: %v", err)
	}
	hold, err := Begin(t.Context(), options(container))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.dir.Read("other"); err != nil || len(r.Frozen) != 1 || r.Frozen[0].Container != container {
		t.Errorf("the record is %+v, %v", r, err)
	}
	pod.Moves(app)
	if err := hold.Freeze(t.Context(), container); err != nil {
		t.Fatal(err)
	}
	pod.Still(app)
	if err := hold.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	pod.Moves(app)
	s.Still(s.app)
}
