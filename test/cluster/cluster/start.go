package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"understudy.dev/understudy/test/cluster/apiserver"
	"understudy.dev/understudy/test/cluster/component"
	"understudy.dev/understudy/test/cluster/dns"
	"understudy.dev/understudy/test/cluster/machine"
	"understudy.dev/understudy/test/cluster/network"
	"understudy.dev/understudy/test/cluster/process"
)

// start starts what does not run and waits until all of it is ready.
func (c *Cluster) start(ctx context.Context, machines map[string]machine.Machine, images []string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.startRelay(machines[network.ControlName]); err != nil {
		return err
	}
	components, err := c.components()
	if err != nil {
		return err
	}
	byName := map[string]component.Component{}
	for _, one := range components {
		byName[one.Name] = one
	}
	run := func(ctx context.Context, names ...string) error {
		for _, name := range names {
			if err := c.run(ctx, machines, byName[name]); err != nil {
				return err
			}
		}
		return nil
	}
	ready := func(ctx context.Context, name string) error { return c.await(ctx, machines, byName[name]) }

	// The API server is patient with etcd, and containerd needs neither.
	if err := run(ctx, component.Etcd, component.APIServer); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	serving := make(chan struct{})
	group.Go(func() error {
		if err := ready(ctx, component.APIServer); err != nil {
			return err
		}
		close(serving)
		if err := run(ctx, component.ControllerManager, component.Scheduler); err != nil {
			return err
		}
		return c.startDNS(ctx)
	})
	for _, node := range network.Nodes {
		group.Go(func() error {
			if err := run(ctx, component.Containerd(node.Name)); err != nil {
				return err
			}
			if err := ready(ctx, component.Containerd(node.Name)); err != nil {
				return err
			}
			for _, archive := range images {
				if err := c.load(ctx, node.Name, archive); err != nil {
					return err
				}
			}
			select {
			case <-serving:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := run(ctx, component.Kubelet(node.Name), component.KubeProxy(node.Name)); err != nil {
				return err
			}
			if err := ready(ctx, component.KubeProxy(node.Name)); err != nil {
				return err
			}
			return ready(ctx, component.Kubelet(node.Name))
		})
	}
	return group.Wait()
}

// startDNS applies the DNS server's objects and waits until it answers.
func (c *Cluster) startDNS(ctx context.Context) error {
	client, err := apiserver.FromKubeconfig(c.Layout.Kubeconfig())
	if err != nil {
		return err
	}
	objects, err := dns.Objects()
	if err != nil {
		return err
	}
	for _, object := range objects {
		// The namespace is made by the API server itself, a moment after it is ready.
		err := until(ctx, "the API server to take "+object.Path, func(ctx context.Context) error {
			return client.Apply(ctx, object.Path, object.Content)
		})
		if err != nil {
			return err
		}
	}
	return until(ctx, "the DNS server", func(ctx context.Context) error {
		return client.Condition(ctx, dns.DeploymentPath, "Available")
	})
}

// run starts a component that does not run, and starts one again that runs as it
// would no longer be started: of another version, with other arguments.
func (c *Cluster) run(ctx context.Context, machines map[string]machine.Machine, wanted component.Component) error {
	digest, err := wanted.Digest(c.Layout.Program(wanted.Program))
	if err != nil {
		return err
	}
	record, running, err := c.processes().Find(wanted.Record())
	if err != nil || running && record.Digest == digest {
		return err
	}
	if running {
		fmt.Fprintf(c.Out, "starting %s again: it has changed\n", wanted.Name)
		if err := c.stop(ctx, wanted, false); err != nil {
			return err
		}
	}
	if err := wanted.WriteFiles(); err != nil {
		return err
	}
	command, err := process.Command(c.Layout.Log(wanted.Record()), c.Layout.Program(wanted.Program), wanted.Args...)
	if err != nil {
		return err
	}
	return machines[wanted.Machine].Do(func() error {
		_, err := c.processes().Start(wanted.Record(), digest, command)
		return err
	})
}

// await waits until a component does its work.
func (c *Cluster) await(ctx context.Context, machines map[string]machine.Machine, wanted component.Component) error {
	client, err := apiserver.FromKubeconfig(c.Layout.Kubeconfig())
	if err != nil {
		return err
	}
	err = until(ctx, wanted.Name, func(ctx context.Context) error {
		_, running, err := c.processes().Find(wanted.Record())
		if err != nil {
			return fmt.Errorf("looking for its process: %w", err)
		}
		if !running {
			return errors.New("it does not run")
		}
		switch wanted.Name {
		case component.APIServer:
			return client.Ready(ctx)
		case component.Containerd(wanted.Machine):
			_, err := c.ctr(ctx, wanted.Machine, "plugins", "ls", "--quiet")
			return err
		case component.Kubelet(wanted.Machine):
			if err := get(ctx, machines[wanted.Machine], wanted.Health); err != nil {
				return err
			}
			return client.Condition(ctx, "/api/v1/nodes/"+wanted.Machine, "Ready")
		}
		if wanted.Health == "" {
			return nil
		}
		return get(ctx, machines[wanted.Machine], wanted.Health)
	})
	if err != nil {
		return fmt.Errorf("%w%s", err, c.tail(wanted.Record()))
	}
	return nil
}

// get asks an address within a machine and wants the answer 200.
func get(ctx context.Context, within machine.Machine, address string) error {
	client := &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
				var connection net.Conn
				// A socket stays in the namespace that it was made in, whichever thread uses it later.
				err := within.Do(func() error {
					var err error
					connection, err = net.DialTimeout(network, address, time.Second)
					return err
				})
				return connection, err
			},
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", address, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking %s: %s", address, response.Status)
	}
	return nil
}

// Relay is the name of the relay's record.
const Relay = "relay"

// DefaultPort is where the API server is reached on 127.0.0.1 when the port is free.
const DefaultPort = "16443"

// startRelay makes the API server reachable and writes the administrator's
// kubeconfig. UNDERSTUDY_CLUSTER_PORT fixes the port; without it another one is
// taken where the default is in use.
func (c *Cluster) startRelay(control machine.Machine) error {
	_, running, err := c.processes().Find(Relay)
	if err != nil || running {
		return err
	}
	listener, err := c.listen()
	if err != nil {
		return err
	}
	defer listener.Close()
	socket, err := listener.File()
	if err != nil {
		return fmt.Errorf("starting the relay: %w", err)
	}
	defer socket.Close()
	command, err := process.Command(c.Layout.Log(Relay), c.Layout.Program("relay"), "-to", fmt.Sprintf("%s:%d", network.Control, component.APIPort))
	if err != nil {
		return err
	}
	command.ExtraFiles = []*os.File{socket}
	if err := control.Do(func() error { _, err := c.processes().Start(Relay, "", command); return err }); err != nil {
		return err
	}
	return c.writeKubeconfig("https://" + listener.Addr().String())
}

// listen prefers the port of the kubeconfig that is already there: its copies
// stay good when the relay is started again.
func (c *Cluster) listen() (*net.TCPListener, error) {
	fixed := os.Getenv("UNDERSTUDY_CLUSTER_PORT")
	ports := []string{DefaultPort, "0"}
	if fixed != "" {
		ports = []string{fixed}
	} else if client, err := apiserver.FromKubeconfig(c.Layout.Kubeconfig()); err == nil {
		if server, err := url.Parse(client.Server); err == nil {
			ports = append([]string{server.Port()}, ports...)
		}
	}
	var last error
	for _, port := range ports {
		listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			return listener.(*net.TCPListener), nil
		}
		last = err
	}
	if fixed != "" {
		return nil, fmt.Errorf("listening for the API server: %w; UNDERSTUDY_CLUSTER_PORT asks for this port, choose another or unset it", last)
	}
	return nil, fmt.Errorf("listening for the API server: %w", last)
}

func (c *Cluster) writeKubeconfig(server string) error {
	if client, err := apiserver.FromKubeconfig(c.Layout.Kubeconfig()); err == nil && client.Server == server {
		return nil
	}
	content, err := c.administrator(server)
	if err != nil {
		return err
	}
	return save(c.Layout.Kubeconfig(), content, 0o600)
}

// save writes a file in one step.
func save(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.WriteFile(path+".new", content, mode); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
