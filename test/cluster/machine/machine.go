// Package machine makes what the cluster takes for separate computers: a
// network, a mount and a host name namespace each, kept by one process that does
// nothing. When that process and all others in it are gone the kernel removes
// the interfaces, routes and mounts; nothing has a name that could stay behind.
//
// Process ids, users and devices are those of the machine it all runs on.
package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Spec says what a new machine looks like.
type Spec struct {
	// Name is its host name.
	Name string
	// Storage is the folder that holds the machine's own folders.
	Storage string
	// Folders are absolute paths that the machine sees as its own: each is
	// Storage joined with that path.
	Folders []string
}

// Machine is a set of namespaces, known by a process that lives in them.
type Machine struct {
	Name string
	// Holder is the id of that process.
	Holder int
}

// Create makes the namespaces and starts holder in them by way of start, which
// gets a command that is ready to run and answers with its process id.
func Create(spec Spec, holder *exec.Cmd, start func(*exec.Cmd) (int, error)) (Machine, error) {
	var pid int
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("making namespaces: %w", err)
		}
		if err := furnish(spec); err != nil {
			return err
		}
		var err error
		pid, err = start(holder)
		return err
	})
	if err != nil {
		return Machine{}, fmt.Errorf("creating machine %s: %w", spec.Name, err)
	}
	return Machine{Name: spec.Name, Holder: pid}, nil
}

// furnish gives the calling thread's new namespaces their mounts and host name.
func furnish(spec Spec) error {
	// First cut off from the machine outside, or every mount below would appear there too.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	for _, folder := range spec.Folders {
		own := filepath.Join(spec.Storage, folder)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", own, err)
		}
		if err := unix.Mount(own, folder, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", own, folder, err)
		}
	}
	// Pods that ask for mount propagation need shared mounts, as a booted node has them.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("making mounts shared: %w", err)
	}
	if err := unix.Sethostname([]byte(spec.Name)); err != nil {
		return fmt.Errorf("setting host name %s: %w", spec.Name, err)
	}
	return nil
}

// Do calls f on a thread that is in the machine: what f opens, and every process
// it starts, is in it. f must not hand work to other goroutines.
func (m Machine) Do(f func() error) error {
	return onThread(func() error {
		// Opened before the first is entered: /proc may be another one there.
		kinds := []struct {
			name string
			flag int
		}{{"net", unix.CLONE_NEWNET}, {"uts", unix.CLONE_NEWUTS}, {"mnt", unix.CLONE_NEWNS}}
		fds := make([]int, len(kinds))
		for i, kind := range kinds {
			path := filepath.Join("/proc", strconv.Itoa(m.Holder), "ns", kind.name)
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("entering machine %s: opening %s: %w", m.Name, path, err)
			}
			defer unix.Close(fd)
			fds[i] = fd
		}
		// A thread that shares its root and working directory with others may not change mounts.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("entering machine %s: %w", m.Name, err)
		}
		for i, kind := range kinds {
			if err := unix.Setns(fds[i], kind.flag); err != nil {
				return fmt.Errorf("entering machine %s: joining %s namespace: %w", m.Name, kind.name, err)
			}
		}
		return f()
	})
}

// The program's first thread is kept for the main goroutine. It is the one that
// can not end, and its namespaces are what /proc/PID shows of the whole program:
// it must never be among those that change theirs.
func init() { runtime.LockOSThread() }

// onThread calls f on a thread of its own, which ends with it: a thread that has
// changed namespaces must never run other goroutines.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}
