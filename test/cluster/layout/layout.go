// Package layout says where the test cluster keeps what it makes: built
// programs, image archives and the state of the one running cluster. It knows
// paths only; it opens nothing.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxSocketPath is the longest path a unix socket may have: sun_path holds 108
// bytes with its terminating zero (unix(7)).
const maxSocketPath = 107

// Layout is the folder that everything of the test cluster lives below.
type Layout struct {
	// Root is ${XDG_CACHE_HOME:-$HOME/.cache}/understudy.
	Root string
	// Name is the cluster's folder below Root, "cluster" where it is empty. Clusters
	// of other names share the programs and may run at the same time.
	Name string
}

// FromEnvironment returns the layout of the calling user. It is an error when
// neither XDG_CACHE_HOME nor HOME is set, when the folder lies where a node has
// folders of its own (the node would not see its programs), or when its name is
// too long for the sockets below it.
func FromEnvironment() (Layout, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return Layout{}, fmt.Errorf("finding the cache folder: neither XDG_CACHE_HOME nor HOME is set: %w", err)
		}
		base = filepath.Join(home, ".cache")
	}
	root, err := filepath.Abs(filepath.Join(base, "understudy"))
	if err != nil {
		return Layout{}, fmt.Errorf("finding the cache folder: %w", err)
	}
	l := Layout{Root: root}
	return l, l.check()
}

func (l Layout) check() error {
	for _, own := range MachineFolders {
		if l.Root == own || strings.HasPrefix(l.Root, own+"/") {
			return fmt.Errorf("using %s as the cache folder: every node has a %s of its own and would not see it; set XDG_CACHE_HOME to another folder", l.Root, own)
		}
	}
	if socket := l.ContainerdSocket("node-1"); len(socket) > maxSocketPath {
		return fmt.Errorf("using %s as the cache folder: the path of the socket %s is longer than %d bytes; set XDG_CACHE_HOME to a shorter one", l.Root, socket, maxSocketPath)
	}
	return nil
}

// MachineFolders are the folders that each machine of the cluster sees as its
// own, as a real node would have them: sockets and locks, data, logs.
var MachineFolders = []string{"/run", "/var/lib", "/var/log"}

// Programs holds one folder for each built program and, below it, one for each key.
func (l Layout) Programs() string { return filepath.Join(l.Root, "programs") }

// Images holds the image archives that the tool makes for the cluster itself.
func (l Layout) Images() string { return filepath.Join(l.Root, "images") }

// Debian holds one folder for each set of Debian's packages that is unpacked to
// be the root of an image.
func (l Layout) Debian() string { return filepath.Join(l.Root, "debian") }

// Bin holds one symbolic link for each built program that is current.
func (l Layout) Bin() string { return filepath.Join(l.Root, "bin") }

// Program is the path that a built program is run by.
func (l Layout) Program(name string) string { return filepath.Join(l.Bin(), name) }

// Cluster is the state of the running cluster; `down` removes it.
func (l Layout) Cluster() string {
	if l.Name == "" {
		return filepath.Join(l.Root, "cluster")
	}
	return filepath.Join(l.Root, l.Name)
}

// Group is the name of the cgroup that all of the cluster runs below. It differs
// from that of any other cluster on the machine, of another name or another user.
func (l Layout) Group() string {
	sum := sha256.Sum256([]byte(l.Cluster()))
	return "understudy-" + hex.EncodeToString(sum[:4])
}

// Kubeconfig is the cluster administrator's, for use over 127.0.0.1.
func (l Layout) Kubeconfig() string { return filepath.Join(l.Cluster(), "kubeconfig") }

// Lock is held by the one command that changes the cluster. It lies outside of
// Cluster, which `down` removes.
func (l Layout) Lock() string { return l.Cluster() + ".lock" }

// PKI holds the cluster's certificate authorities and the keys made with them.
func (l Layout) PKI() string { return filepath.Join(l.Cluster(), "pki") }

// Processes holds one record for each process that `up` started.
func (l Layout) Processes() string { return filepath.Join(l.Cluster(), "processes") }

// Log is what a component wrote to its standard output and error.
func (l Layout) Log(component string) string {
	return filepath.Join(l.Cluster(), "logs", component+".log")
}

// Config is a folder for the configuration files of one machine.
func (l Layout) Config(machine string) string {
	return filepath.Join(l.Cluster(), "config", machine)
}

// Machine is the folder whose subfolders a machine sees as MachineFolders.
func (l Layout) Machine(machine string) string {
	return filepath.Join(l.Cluster(), "machines", machine)
}

// ContainerdSocket is a node's containerd, as seen from outside of the node.
func (l Layout) ContainerdSocket(node string) string {
	return filepath.Join(l.Machine(node), "run", "containerd", "containerd.sock")
}
