package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"understudy.dev/understudy/test/cluster/component"
	"understudy.dev/understudy/test/cluster/debian"
	"understudy.dev/understudy/test/cluster/layout"
	"understudy.dev/understudy/test/cluster/machine"
	"understudy.dev/understudy/test/cluster/network"
	"understudy.dev/understudy/test/cluster/pki"
	"understudy.dev/understudy/test/cluster/process"
)

// startTimeout bounds a start with everything built. It is many times what a start
// takes, for machines that are compiling or testing at the same time.
const startTimeout = 4 * time.Minute

// Up makes the cluster run, from whatever is there: nothing, a running one, one
// with components stopped, or the rest of one that crashed.
func (c *Cluster) Up(ctx context.Context) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := debian.Ensure(ctx, c.Out); err != nil {
		return err
	}
	if err := c.Builder.Ensure(ctx); err != nil {
		return err
	}
	images, err := c.ownImages()
	if err != nil {
		return err
	}

	started := time.Now()
	if err := c.ensure(ctx, images); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "the cluster is up: nodes and DNS ready after %s\n", time.Since(started).Round(100*time.Millisecond))
	fmt.Fprintf(c.Out, "export KUBECONFIG=%s\n", c.Layout.Kubeconfig())
	return nil
}

// ensure goes on from what is there, and begins anew where that does not lead
// to a cluster that works.
func (c *Cluster) ensure(ctx context.Context, images []string) error {
	machines, err := c.Machines()
	if err != nil {
		return err
	}
	if len(machines) == len(machineNames()) && c.complete() {
		err := c.start(ctx, machines, images)
		if err == nil || ctx.Err() != nil {
			return err
		}
		fmt.Fprintf(c.Out, "the cluster that is there does not work, making a new one: %v\n", err)
	}
	if err := c.clean(ctx); err != nil {
		return err
	}
	if machines, err = c.create(); err != nil {
		return err
	}
	return c.start(ctx, machines, images)
}

// completed is written when machines, network and keys are all there: what lacks
// it was interrupted and is begun anew.
func (c *Cluster) completed() string { return c.Layout.Cluster() + "/complete" }

func (c *Cluster) complete() bool {
	_, err := os.Stat(c.completed())
	return err == nil
}

// create makes machines, network and keys.
func (c *Cluster) create() (map[string]machine.Machine, error) {
	groups := []string{component.DaemonGroup(c.Layout)}
	for _, node := range network.Nodes {
		groups = append(groups, component.NodeGroup(c.Layout, node.Name))
	}
	for _, group := range groups {
		if err := c.host.Make(group); err != nil {
			return nil, err
		}
	}
	machines := map[string]machine.Machine{}
	for _, name := range machineNames() {
		command, err := process.Command(c.Layout.Log(holder(name)), c.Layout.Program("pause"))
		if err != nil {
			return nil, err
		}
		spec := machine.Spec{Name: name, Storage: c.Layout.Machine(name), Folders: layout.MachineFolders}
		m, err := machine.Create(spec, command, func(holding *exec.Cmd) (int, error) {
			return c.processes().Start(holder(name), "", holding)
		})
		if err != nil {
			return nil, err
		}
		machines[name] = m
	}
	if err := network.Connect(machines[network.ControlName], machines); err != nil {
		return nil, err
	}
	if err := c.issue(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.completed(), nil, 0o644); err != nil {
		return nil, fmt.Errorf("recording the cluster: %w", err)
	}
	return machines, nil
}

// issue makes the authorities, the servers' certificates and the administrator's kubeconfig.
func (c *Cluster) issue() error {
	folder := c.Layout.PKI()
	authority, err := pki.NewAuthority("understudy-cluster")
	if err != nil {
		return err
	}
	front, err := pki.NewAuthority("understudy-cluster-front-proxy")
	if err != nil {
		return err
	}
	for name, a := range map[string]*pki.Authority{"ca": authority, "frontproxy-ca": front} {
		if err := a.Pair().Save(folder, name); err != nil {
			return err
		}
	}
	type issued struct {
		file     string
		signer   *pki.Authority
		identity pki.Identity
	}
	certificates := []issued{
		{"apiserver", authority, pki.Identity{
			Name:      "kube-apiserver",
			DNSNames:  []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
			Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), network.Control, network.APIService},
		}},
		{"kubelet-client", authority, pki.Identity{Name: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}}},
		{"serviceaccount", authority, pki.Identity{Name: "service-accounts"}},
		{"frontproxy", front, pki.Identity{Name: "front-proxy"}},
	}
	for _, node := range network.Nodes {
		certificates = append(certificates, issued{node.Name, authority, pki.Identity{
			Name: "system:node:" + node.Name, Groups: []string{"system:nodes"},
			DNSNames: []string{node.Name}, Addresses: []netip.Addr{node.Address},
		}})
	}
	for _, certificate := range certificates {
		pair, err := certificate.signer.Sign(certificate.identity)
		if err != nil {
			return err
		}
		if err := pair.Save(folder, certificate.file); err != nil {
			return err
		}
	}
	kubeconfig := kubeconfigs(authority)
	for _, name := range []string{component.ControllerManager, component.Scheduler} {
		content, err := kubeconfig("system:" + name)
		if err != nil {
			return err
		}
		if err := save(component.KubeconfigFile(c.Layout, network.ControlName, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
