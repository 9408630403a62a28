package fence

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// nodeCgroupNamespace is the one in which a cgroup's level counts from the root:
// since Linux 6.11 the kernel takes levels in rules as relative to the cgroup
// namespace of who makes the rule.
const nodeCgroupNamespace = "/proc/1/ns/cgroup"

// within runs f on a thread that is in the network namespace, and in the node's
// cgroup namespace if that can be entered.
func within(netns *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering the pod's network namespace: %w", err)
		}
		if err := enterNodeCgroups(); err != nil {
			return fmt.Errorf("entering the node's cgroup namespace: %w", err)
		}
		return f()
	})
}

// inEmptyNamespace is within a network namespace that is gone afterwards.
func inEmptyNamespace(f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		if err := enterNodeCgroups(); err != nil {
			return fmt.Errorf("entering the node's cgroup namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread that nobody else gets and that ends with it. It is
// never the first one, which would not end and whose namespaces others take for
// those of the process.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(f) // this one is taken meanwhile
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

func enterNodeCgroups() error {
	node, err := os.Readlink(nodeCgroupNamespace)
	if err != nil {
		return nil // no such namespaces, or not ours to see: levels are as we see them
	}
	if own, err := os.Readlink("/proc/thread-self/ns/cgroup"); err != nil || own == node {
		return err
	}
	ns, err := os.Open(nodeCgroupNamespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	return unix.Setns(int(ns.Fd()), unix.CLONE_NEWCGROUP)
}
