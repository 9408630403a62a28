// Package cluster brings the whole up and takes it down again: two nodes and a
// control machine, each in namespaces of its own, with a relay on 127.0.0.1.
//
// What runs is found by asking the kernel (package cgroup) and by what was
// recorded (package process). Every command may have been interrupted at any
// line; the next one goes on from what it finds.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/test/cluster/apiserver"
	"understudy.dev/understudy/test/cluster/build"
	"understudy.dev/understudy/test/cluster/cgroup"
	"understudy.dev/understudy/test/cluster/component"
	"understudy.dev/understudy/test/cluster/layout"
	"understudy.dev/understudy/test/cluster/machine"
	"understudy.dev/understudy/test/cluster/network"
	"understudy.dev/understudy/test/cluster/pki"
	"understudy.dev/understudy/test/cluster/process"
)

// Cluster is the one cluster of a layout.
type Cluster struct {
	Layout  layout.Layout
	Builder build.Builder
	// Out takes what is done, line by line.
	Out io.Writer

	host cgroup.Host
}

// New returns the cluster of a layout. module is the folder of this module.
func New(l layout.Layout, module string, out io.Writer) *Cluster {
	return &Cluster{
		Layout:  l,
		Builder: build.Builder{Module: module, Layout: l, Out: out, Clock: time.Now},
		Out:     out,
		host:    cgroup.Host{Mount: "/sys/fs/cgroup"},
	}
}

// ErrDown is the answer of what needs a running cluster when there is none.
var ErrDown = errors.New("the cluster is not up")

func (c *Cluster) processes() process.Table {
	return process.Table{Folder: c.Layout.Processes(), Host: c.host, Group: component.DaemonGroup(c.Layout)}
}

// lock keeps out other commands that change the cluster.
func (c *Cluster) lock() (func(), error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("changing the cluster: only root can make namespaces, links and cgroups as nodes need them; run this as root")
	}
	if err := os.MkdirAll(c.Layout.Root, 0o755); err != nil {
		return nil, fmt.Errorf("locking the cluster: %w", err)
	}
	file, err := os.OpenFile(c.Layout.Lock(), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the cluster: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		fmt.Fprintln(c.Out, "waiting for another command that changes the cluster")
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the cluster: %w", err)
	}
	return func() { _ = file.Close() }, nil
}

// Machines returns the machines that run, by name.
func (c *Cluster) Machines() (map[string]machine.Machine, error) {
	machines := map[string]machine.Machine{}
	for _, name := range machineNames() {
		record, running, err := c.processes().Find(holder(name))
		if err != nil {
			return nil, err
		}
		if running {
			machines[name] = machine.Machine{Name: name, Holder: record.PID}
		}
	}
	return machines, nil
}

// Machine returns one machine; ErrDown where it does not run.
func (c *Cluster) Machine(name string) (machine.Machine, error) {
	machines, err := c.Machines()
	if err != nil {
		return machine.Machine{}, err
	}
	m, ok := machines[name]
	if !ok {
		return machine.Machine{}, fmt.Errorf("finding machine %q (there are %v): %w", name, machineNames(), ErrDown)
	}
	return m, nil
}

func machineNames() []string {
	names := []string{network.ControlName}
	for _, node := range network.Nodes {
		names = append(names, node.Name)
	}
	return names
}

// holder is the name of the process that keeps a machine's namespaces.
func holder(machine string) string { return "machine-" + machine }

// kubeconfigs makes those of components, for use on the cluster's own machines.
func kubeconfigs(authority *pki.Authority) component.Kubeconfigs {
	server := fmt.Sprintf("https://%s:%d", network.Control, component.APIPort)
	return func(user string, groups ...string) ([]byte, error) {
		return authority.Kubeconfig(server, pki.Identity{Name: user, Groups: groups})
	}
}

// components returns every component with its files' content.
func (c *Cluster) components() ([]component.Component, error) {
	authority, err := pki.LoadAuthority(c.Layout.PKI(), "ca")
	if err != nil {
		return nil, errors.Join(ErrDown, err)
	}
	return component.All(c.Layout, kubeconfigs(authority))
}

// Kubeconfig makes one for a user who is known by name and groups only, with no
// rights but those that are given to them.
func (c *Cluster) Kubeconfig(user string, groups ...string) ([]byte, error) {
	authority, err := pki.LoadAuthority(c.Layout.PKI(), "ca")
	if err != nil {
		return nil, errors.Join(ErrDown, err)
	}
	client, err := apiserver.FromKubeconfig(c.Layout.Kubeconfig())
	if err != nil {
		return nil, errors.Join(ErrDown, err)
	}
	return authority.Kubeconfig(client.Server, pki.Identity{Name: user, Groups: groups})
}

// administrator makes the kubeconfig of whom nothing is forbidden.
func (c *Cluster) administrator(server string) ([]byte, error) {
	authority, err := pki.LoadAuthority(c.Layout.PKI(), "ca")
	if err != nil {
		return nil, err
	}
	return authority.Kubeconfig(server, pki.Identity{Name: "admin", Groups: []string{"system:masters"}})
}

// until calls check until it returns nil, and says what it said last when ctx ends.
func until(ctx context.Context, what string, check func(context.Context) error) error {
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tail returns the last lines of a component's log, for an error's reader.
func (c *Cluster) tail(component string) string {
	const bytes = 2000
	path := c.Layout.Log(component)
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if len(content) > bytes {
		content = content[len(content)-bytes:]
	}
	return fmt.Sprintf("\n%s ends with:\n%s", filepath.Clean(path), content)
}
