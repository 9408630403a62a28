package cluster

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"understudy.dev/understudy/test/cluster/component"
)

// stopTimeout is how long a component may take to end by itself.
const stopTimeout = 30 * time.Second

// Stop ends components and leaves them so; Start starts them again. hard ends them
// by SIGKILL. Containers go on when their node's containerd or kubelet is away.
func (c *Cluster) Stop(ctx context.Context, hard bool, names ...string) error {
	return c.each(names, func(wanted component.Component) error {
		if err := c.stop(ctx, wanted, hard); err != nil {
			return err
		}
		fmt.Fprintf(c.Out, "stopped %s\n", wanted.Name)
		return nil
	})
}

func (c *Cluster) stop(ctx context.Context, wanted component.Component, hard bool) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	signal := wanted.Stop
	if hard {
		signal = syscall.SIGKILL
	}
	return c.processes().Stop(ctx, wanted.Record(), signal)
}

// Start starts components that do not run and waits until they are ready.
func (c *Cluster) Start(ctx context.Context, names ...string) error {
	machines, err := c.Machines()
	if err != nil {
		return err
	}
	return c.each(names, func(wanted component.Component) error {
		if _, up := machines[wanted.Machine]; !up {
			return ErrDown
		}
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		started := time.Now()
		if err := c.run(ctx, machines, wanted); err != nil {
			return err
		}
		if err := c.await(ctx, machines, wanted); err != nil {
			return err
		}
		fmt.Fprintf(c.Out, "%s is ready after %s\n", wanted.Name, time.Since(started).Round(10*time.Millisecond))
		return nil
	})
}

func (c *Cluster) each(names []string, do func(component.Component) error) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	components, err := c.components()
	if err != nil {
		return err
	}
	for _, name := range names {
		wanted, err := component.Find(components, name)
		if err != nil {
			return err
		}
		if err := do(wanted); err != nil {
			return err
		}
	}
	return nil
}

// State is how one component is.
type State struct {
	Name string
	PID  int
	// Running says that its process is there.
	Running bool
}

// Status returns the state of machines, relay and components.
func (c *Cluster) Status() ([]State, error) {
	components, err := c.components()
	if err != nil {
		return nil, err
	}
	records := map[string]string{}
	var names []string
	add := func(name, record string) {
		names = append(names, name)
		records[name] = record
	}
	for _, machine := range machineNames() {
		add(holder(machine), holder(machine))
	}
	add(Relay, Relay)
	for _, one := range components {
		add(one.Name, one.Record())
	}
	var states []State
	for _, name := range names {
		record, running, err := c.processes().Find(records[name])
		if err != nil {
			return nil, err
		}
		states = append(states, State{Name: name, PID: record.PID, Running: running})
	}
	return states, nil
}
