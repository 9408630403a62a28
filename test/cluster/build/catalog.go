package build

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Program is one executable that the cluster, its tests or its users need.
type Program struct {
	// Name is the file's name.
	Name string
	// Package is its import path; one of this module is written in program/.
	Package string
	// LDFlags are the linker's flags beyond those that every program gets.
	LDFlags string
	// Module is what the program is built in, this module where it is nil.
	Module *Module
}

// Part is a group of programs that is built in one go.
type Part struct {
	Name     string
	Programs []Program
	// Packages and Cold are how many packages had to be compiled and how long it
	// took on two cores when the parts were built in the order of Catalog from
	// nothing. They feed the estimate and nothing else.
	Packages int
	Cold     time.Duration
	// Extra parts are built only when a program of theirs is named: the cluster
	// itself runs without them.
	Extra bool
}

const (
	module = "understudy.dev/understudy/test/cluster"
	// fast skips the optimizer and the debug information: code of Kubernetes'
	// own and its generated clients is a third of all that is compiled, and none
	// of it is where the time of a request goes. The libraries that carry requests
	// (the standard one, gRPC, apimachinery, apiserver) stay optimized.
	fast = "-N -l -dwarf=false"
)

// compilerFlags is the same for all programs, so that shared packages are compiled once.
var compilerFlags = []string{
	"-trimpath", "-buildvcs=false",
	"-gcflags=all=-dwarf=false",
	"-gcflags=k8s.io/kubernetes/...=" + fast,
	"-gcflags=k8s.io/api/...=" + fast,
	"-gcflags=k8s.io/client-go/kubernetes/...=" + fast,
	"-gcflags=k8s.io/client-go/applyconfigurations/...=" + fast,
	"-gcflags=k8s.io/client-go/informers/...=" + fast,
	"-gcflags=k8s.io/client-go/listers/...=" + fast,
}

// moduleFlags are for programs of a module of their own. Nobody waits for what
// they compute, and their clients of every cloud are most of what is compiled.
var moduleFlags = append(slices.Clone(compilerFlags),
	"-gcflags=github.com/...="+fast,
	"-gcflags=cloud.google.com/...="+fast,
	"-gcflags=google.golang.org/...="+fast,
	"-gcflags=go.mongodb.org/...="+fast,
	"-gcflags=k8s.io/...="+fast,
	"-gcflags=sigs.k8s.io/...="+fast,
)

func (p Program) compilerFlags() []string {
	if p.Module != nil {
		return moduleFlags
	}
	return compilerFlags
}

func local(name string) Program { return Program{Name: name, Package: module + "/program/" + name} }

func kubernetes(name string) Program {
	return Program{
		Name:    name,
		Package: "k8s.io/kubernetes/cmd/" + name,
		LDFlags: "-X k8s.io/component-base/version.gitVersion={version} -X k8s.io/component-base/version.gitMajor={major} -X k8s.io/component-base/version.gitMinor={minor}",
	}
}

func containerd(name string) Program {
	return Program{
		Name:    name,
		Package: "github.com/containerd/containerd/v2/cmd/" + name,
		LDFlags: "-X github.com/containerd/containerd/v2/version.Version={version}",
	}
}

func cni(name, kind string) Program {
	return Program{Name: name, Package: "github.com/containernetworking/plugins/plugins/" + kind + "/" + name}
}

// Catalog is everything that can be built, in the order in which it is: what API
// server tests need comes first.
var Catalog = []Part{
	{"etcd", []Program{local("etcd")}, 566, 44 * time.Second, false},
	{"kube-apiserver", []Program{kubernetes("kube-apiserver")}, 1541, 205 * time.Second, false},
	{"kubelet", []Program{kubernetes("kubelet")}, 520, 65 * time.Second, false},
	{"containerd", []Program{containerd("containerd"), containerd("containerd-shim-runc-v2"), containerd("ctr")}, 350, 33 * time.Second, false},
	{"kube-controller-manager", []Program{kubernetes("kube-controller-manager")}, 230, 31 * time.Second, false},
	{"kube-scheduler, kube-proxy, kubectl", []Program{kubernetes("kube-scheduler"), kubernetes("kube-proxy"), kubernetes("kubectl")}, 240, 31 * time.Second, false},
	{"CNI plugins, small programs", []Program{cni("loopback", "main"), cni("ptp", "main"), cni("host-local", "ipam"), cni("portmap", "meta"), local("pause"), local("relay")}, 20, 3 * time.Second, false},
	{"CoreDNS", []Program{local("coredns")}, 60, 11 * time.Second, false},
	{"nats-server", []Program{{Name: "nats-server", Package: "github.com/nats-io/nats-server/v2"}}, 40, 15 * time.Second, false},
	{"Helm", []Program{{Name: "helm", Package: "helm.sh/helm/v4/cmd/helm", LDFlags: "-X helm.sh/helm/v4/internal/version.version={version}"}}, 250, 21 * time.Second, false},
	// Guessed by the number of packages.
	{"KEDA", []Program{keda}, 1200, 240 * time.Second, true},
	{"Argo Rollouts", []Program{argoRollouts}, 1350, 240 * time.Second, true},
}

// Names returns the names of all programs of the catalog.
func Names() []string {
	var names []string
	for _, part := range Catalog {
		for _, program := range part.Programs {
			names = append(names, program.Name)
		}
	}
	return names
}

// choose returns the parts of the catalog reduced to the named programs; no names
// stand for all that the cluster needs.
func choose(names []string) ([]Part, error) {
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("choosing what to build: there is no program %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	var parts []Part
	for _, part := range Catalog {
		part.Programs = slices.Clone(part.Programs)
		part.Programs = slices.DeleteFunc(part.Programs, func(p Program) bool {
			if len(names) == 0 {
				return part.Extra
			}
			return !slices.Contains(names, p.Name)
		})
		if len(part.Programs) > 0 {
			parts = append(parts, part)
		}
	}
	return parts, nil
}

// linkerFlags fills in the version that a program shall report.
func (p Program) linkerFlags(version string) string {
	flags := "-s -w"
	if p.LDFlags == "" {
		return flags
	}
	numbers := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	numbers = append(numbers, "", "")
	return flags + " " + strings.NewReplacer("{version}", version, "{major}", numbers[0], "{minor}", numbers[1]).Replace(p.LDFlags)
}
