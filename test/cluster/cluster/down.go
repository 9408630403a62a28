package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// cleanTimeout bounds how long the end of killed processes is waited for.
const cleanTimeout = time.Minute

// Down ends the cluster and removes all of it but for the built programs and
// images. One that is not up is no error.
func (c *Cluster) Down(ctx context.Context) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return c.clean(ctx)
}

// clean removes whatever there is of a cluster, whole or in parts. What runs in
// it is not asked to end: its containers, data and namespaces go with it.
func (c *Cluster) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	pids, err := c.host.Processes(c.Layout.Group())
	if err != nil {
		return err
	}
	namespaces := namespacesOf(pids)
	if err := c.host.Destroy(ctx, c.Layout.Group()); err != nil {
		return err
	}
	// Who left the cluster's cgroups, as a guard that a node agent started, is still in its namespaces.
	if err := endInhabitants(ctx, namespaces); err != nil {
		return err
	}
	// Mounts and interfaces went with the namespaces, so nothing but files is removed here.
	if err := os.RemoveAll(c.Layout.Cluster()); err != nil {
		return fmt.Errorf("removing the cluster's files: %w", err)
	}
	return nil
}

// namespacesOf returns the mount and network namespaces that the processes are in
// and this one is not.
func namespacesOf(pids []int) map[string]bool {
	namespaces := map[string]bool{}
	for _, pid := range pids {
		for _, namespace := range inhabited(pid) {
			namespaces[namespace] = true
		}
	}
	for _, own := range inhabited(os.Getpid()) {
		delete(namespaces, own)
	}
	// The machine's first process may be in others than this one.
	for _, first := range inhabited(1) {
		delete(namespaces, first)
	}
	return namespaces
}

func inhabited(pid int) []string {
	var namespaces []string
	for _, kind := range []string{"mnt", "net"} {
		if name, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", kind)); err == nil {
			namespaces = append(namespaces, name)
		}
	}
	return namespaces
}

func endInhabitants(ctx context.Context, namespaces map[string]bool) error {
	if len(namespaces) == 0 {
		return nil
	}
	return until(ctx, "the last processes in the cluster's namespaces to end", func(context.Context) error {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		var left []int
		for _, entry := range entries {
			pid, err := strconv.Atoi(entry.Name())
			if err != nil {
				continue
			}
			for _, namespace := range inhabited(pid) {
				if !namespaces[namespace] {
					continue
				}
				left = append(left, pid)
				if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
					return fmt.Errorf("ending process %d: %w", pid, err)
				}
				break
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("processes %v are still there", left)
		}
		return nil
	})
}
