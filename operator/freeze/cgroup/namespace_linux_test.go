package cgroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/freeze/freezetest"
)

// An agent whose runtime has given it a cgroup namespace of its own sees paths
// that begin at its own cgroup, and has to enter the node's. Played by processes
// in a process table of their own, whose first one is the node's:
//
//	machine, in new PID and mount namespaces
//	  |- count, the container's process
//	  '- runtime, in the agent's pod
//	       '- inside, in a new cgroup namespace: finds, freezes, thaws
func TestCgroupNamespace(t *testing.T) {
	for _, versions := range [][]int{{1}, {2}, {1, 2}} {
		t.Run(fmt.Sprint(versions), func(t *testing.T) {
			target, agents := freezetest.NewPod(t, versions...), freezetest.NewPod(t, versions...)
			dirs := func(p *freezetest.Pod) string { return strings.Join(slices.Collect(maps.Values(p.Dirs)), ":") }
			target.Start("machine", nil,
				"CGROUP_TEST_TARGET="+target.UID+"/"+target.ID,
				"CGROUP_TEST_TARGET_DIRS="+dirs(target),
				"CGROUP_TEST_AGENT_DIRS="+dirs(agents))
		})
	}
}

// become runs this program again in another role.
func become(role, join string, flags uintptr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "FREEZE_TEST_ROLE="+role, "FREEZE_TEST_JOIN="+join)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	return cmd
}

var nested = map[string]freezetest.Role{
	"machine": func(count func()) error {
		if err := become("first", "", unix.CLONE_NEWPID|unix.CLONE_NEWNS).Run(); err != nil {
			return err
		}
		count() // it has gone well
		select {}
	},
	"first": func(func()) error {
		if err := errors.Join(
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("proc", "/proc", "proc", 0, ""),
		); err != nil {
			return err
		}
		file, err := os.CreateTemp("", "count")
		if err != nil {
			return err
		}
		defer os.Remove(file.Name())
		if err := file.Truncate(int64(os.Getpagesize())); err != nil {
			return err
		}
		app := become("count", os.Getenv("CGROUP_TEST_TARGET_DIRS"), 0)
		app.Env = append(app.Env, "FREEZE_TEST_FILE="+file.Name())
		if err := app.Start(); err != nil {
			return err
		}
		if err := become("runtime", os.Getenv("CGROUP_TEST_AGENT_DIRS"), 0).Run(); err != nil {
			return err
		}
		os.Exit(0)
		return nil
	},
	"runtime": func(func()) error {
		if err := become("inside", "", unix.CLONE_NEWCGROUP).Run(); err != nil {
			return err
		}
		os.Exit(0)
		return nil
	},
	"inside": func(func()) error {
		text, err := os.ReadFile("/proc/1/cgroup")
		if err != nil || !strings.Contains(string(text), ":/..") {
			return fmt.Errorf("not in a namespace of its own: %s, %w", text, err)
		}
		uid, id, _ := strings.Cut(os.Getenv("CGROUP_TEST_TARGET"), "/")
		var group *Group
		for {
			if group, err = (Node{}).Find(Container{PodUID: uid, ID: id}); !errors.Is(err, ErrGone) {
				break // else the container's process is not in there yet
			}
		}
		if err != nil {
			return err
		}
		ctx := context.Background()
		if err := group.Freeze(ctx); err != nil {
			return err
		}
		if s, err := group.State(); err != nil || !s.Frozen {
			return fmt.Errorf("%+v, %w", s, err)
		}
		again, err := Node{}.Open(group.Version, group.Path)
		if err != nil {
			return err
		}
		if s, err := again.State(); err != nil || !s.Frozen {
			return fmt.Errorf("opened again: %+v, %w", s, err)
		}
		if in, err := (Node{}).Within(os.Getpid()); err != nil || !in {
			return fmt.Errorf("it does not know that it is in a pod: %w", err)
		}
		if len((Node{}).Roots()) == 0 {
			return errors.New("it finds no roots")
		}
		if err := group.Thaw(ctx); err != nil {
			return err
		}
		os.Exit(0)
		return nil
	},
}
