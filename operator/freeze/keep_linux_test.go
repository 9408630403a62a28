package freeze

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
	"understudy.dev/understudy/operator/freeze/guard"
	"understudy.dev/understudy/operator/freeze/record"
)

// holdOf freezes a pod's container in the freezer of a version, by this process.
func holdOf(t *testing.T, pod *freezetest.Pod, version int, dir record.Dir, lease time.Duration) *Hold {
	t.Helper()
	t.Setenv(stateVariable, string(dir))
	hold, err := Begin(t.Context(), Options{
		Session: session, Pod: "shop/worker-1", PodUID: pod.UID, Lease: lease, Directory: dir,
		Node:     cgroup.Node{Version: cgroup.Version(version)},
		Cleanups: []record.Cleanup{leaveTrace},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hold.End(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := hold.Freeze(t.Context(), cgroup.Container{PodUID: pod.UID, ID: pod.ID}); err != nil {
		t.Fatal(err)
	}
	return hold
}

// A guard that goes by an earlier deadline than the agent ends the hold: it has
// taken the fence away, and the container must not stay frozen by the agent alone.
func TestGuardExpiresFirst(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			pod := freezetest.NewPod(t, version)
			app := pod.Start("count", pod.Dirs)
			dir := record.Dir(t.TempDir())
			hold := holdOf(t, pod, version, dir, longLease)
			if err := hold.guard.Extend(guard.Now()); err != nil {
				t.Fatal(err)
			}
			select {
			case <-hold.Done():
			case <-time.After(20 * time.Second):
				t.Fatal("it goes on without a guard")
			}
			if err := hold.Err(); !errors.Is(err, ErrExpired) {
				t.Errorf("Err() = %v", err)
			}
			if err := hold.Renew(longLease); !errors.Is(err, ErrExpired) {
				t.Errorf("Renew() = %v", err)
			}
			pod.Moves(app)
			if _, err := dir.Read(session); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is a record: %v", err)
			}
		})
	}
}

// A guard that was stopped for longer than the lease finds the deadline past and
// the orders that have moved it: it goes by these.
func TestGuardWasStopped(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			const lease = 3 * time.Second
			pod := freezetest.NewPod(t, version)
			app := pod.Start("count", pod.Dirs)
			dir := record.Dir(t.TempDir())
			hold := holdOf(t, pod, version, dir, lease)
			first := hold.guard
			heard := hold.deadline()
			if err := unix.Kill(first.Process.PID, unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			freezetest.Until(t, "the deadline that the guard knows is past", func() bool {
				if left := hold.deadline() - guard.Now(); left < lease/2 {
					if err := hold.Renew(lease); err != nil {
						t.Fatal(err)
					}
				}
				return guard.Now() > heard+lease/4
			})
			if err := hold.Renew(longLease); err != nil {
				t.Fatal(err)
			}
			if err := unix.Kill(first.Process.PID, unix.SIGCONT); err != nil {
				t.Fatal(err)
			}
			// It answers when it has taken all that was said before.
			if err := first.Arm(t.Context(), dir, hold.record, hold.deadline()); err != nil {
				t.Fatalf("the guard has ended: %v", err)
			}
			pod.Still(app)
			if r, err := dir.Read(session); err != nil || r.Guard != first.Process || !r.Guard.Lives() {
				t.Errorf("the record is %+v, %v", r, err)
			}
			if err := hold.Err(); err != nil {
				t.Errorf("Err() = %v", err)
			}
		})
	}
}

// A guard that takes no orders any more is replaced: it would go by an old
// deadline.
func TestDeafGuardIsReplaced(t *testing.T) {
	pod := freezetest.NewPod(t, 2)
	app := pod.Start("count", pod.Dirs)
	dir := record.Dir(t.TempDir())
	hold := holdOf(t, pod, 2, dir, longLease)
	first := hold.guard.Process
	if err := unix.Kill(first.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	freezetest.Until(t, "its orders wait for it in vain", func() bool { return hold.Renew(longLease) != nil })
	freezetest.Until(t, "there is another guard", func() bool {
		r, err := dir.Read(session)
		return err == nil && r.Guard != first && r.Guard.Lives()
	})
	if first.Lives() {
		t.Error("the first one could undo later")
	}
	pod.Still(app)
	if err := hold.Renew(longLease); err != nil {
		t.Errorf("Renew() = %v", err)
	}
}

// What has run out is not renewed, though nobody has noticed yet.
func TestRenewTooLate(t *testing.T) {
	until := guard.Now() - time.Millisecond
	h := &Hold{until: until, renewed: make(chan struct{}, 1)}
	if err := h.Renew(time.Hour); !errors.Is(err, ErrExpired) {
		t.Errorf("Renew() = %v", err)
	}
	if got := h.deadline(); got != until {
		t.Errorf("the deadline was moved by %v", got-until)
	}
}
