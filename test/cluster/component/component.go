// Package component describes the programs that the cluster runs: which, on
// which machine, with which arguments and files. It starts nothing.
package component

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"understudy.dev/understudy/test/cluster/layout"
	"understudy.dev/understudy/test/cluster/network"
)

// Component is one long-running program.
type Component struct {
	// Name is what the user calls it: kube-apiserver, node-1/kubelet.
	Name string
	// Machine is where it runs.
	Machine string
	// Program is the name of its executable.
	Program string
	Args    []string
	// Files are written before it is started: path to content.
	Files map[string][]byte
	// Stop is the signal that it ends on in good order.
	Stop syscall.Signal
	// Health is an address within its machine where it answers GET requests with
	// 200 when it is well; empty where another way is needed.
	Health string
}

// Record is the component's name as a file name.
func (c Component) Record() string { return strings.ReplaceAll(c.Name, "/", "-") }

// WriteFiles writes the component's files.
func (c Component) WriteFiles() error {
	for path, content := range c.Files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("configuring %s: %w", c.Name, err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("configuring %s: %w", c.Name, err)
		}
	}
	return nil
}

// Digest stands for what the component is started with: its program as built, its
// arguments and its files. Kubeconfigs are left out, which hold a new key each time.
func (c Component) Digest(program string) (string, error) {
	built, err := filepath.EvalSymlinks(program)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", c.Program, err)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %q\n", built, c.Args)
	for _, path := range slices.Sorted(maps.Keys(c.Files)) {
		if !strings.HasSuffix(path, kubeconfigSuffix) {
			fmt.Fprintf(sum, "%s %q\n", path, c.Files[path])
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// All returns every component in the order in which they are started.
func All(l layout.Layout, kubeconfigs Kubeconfigs) ([]Component, error) {
	components := controlPlane(l)
	for _, node := range network.Nodes {
		runtime := containerd(l, node)
		kubelet, err := kubelet(l, node, kubeconfigs)
		if err != nil {
			return nil, err
		}
		components = append(components, runtime, kubelet, kubeProxy(l, node))
	}
	return components, nil
}

// Kubeconfigs returns the content of a kubeconfig for a user of some groups that
// works on the cluster's own machines.
type Kubeconfigs func(user string, groups ...string) ([]byte, error)

// Find returns the component that a user names; the control plane's may be named
// without "kube-".
func Find(components []Component, name string) (Component, error) {
	i := slices.IndexFunc(components, func(c Component) bool { return c.Name == name || c.Name == "kube-"+name })
	if i < 0 {
		var names []string
		for _, c := range components {
			names = append(names, c.Name)
		}
		return Component{}, fmt.Errorf("finding component %q: there is none; there are %s", name, strings.Join(names, ", "))
	}
	return components[i], nil
}
