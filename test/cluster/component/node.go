package component

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"syscall"

	"understudy.dev/understudy/test/cluster/layout"
	"understudy.dev/understudy/test/cluster/network"
)

// SandboxImage is the image of the process that keeps a pod's namespaces.
const SandboxImage = "understudy.dev/pause:own"

// Containerd, Kubelet and KubeProxy name a node's components.
func Containerd(node string) string { return node + "/containerd" }
func Kubelet(node string) string    { return node + "/kubelet" }
func KubeProxy(node string) string  { return node + "/kube-proxy" }

// NodeGroup is the cgroup that the containers of a node live below.
func NodeGroup(l layout.Layout, node string) string { return l.Group() + "/" + node }

// DaemonGroup is the cgroup of the cluster's own processes.
func DaemonGroup(l layout.Layout) string { return l.Group() + "/daemons" }

func containerd(l layout.Layout, node network.Node) Component {
	config := filepath.Join(l.Config(node.Name), "containerd.toml")
	cni := filepath.Join(l.Config(node.Name), "cni")
	// Paths that are not named here are a real node's own: /var/lib/containerd and
	// /run/containerd, of which each machine has one.
	content := fmt.Sprintf(`version = 4
imports = []
# It would make a folder in /opt, which the node shares with the machine outside.
disabled_plugins = ["io.containerd.internal.v1.opt"]

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = %q

[plugins."io.containerd.cri.v1.runtime"]
  # Lowering a score needs CAP_SYS_RESOURCE, which a container that runs this may lack.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = [%q]
  conf_dir = %q

[plugins."io.containerd.nri.v1.nri"]
  disable = true
`, SandboxImage, l.Bin(), cni)
	return Component{
		Name: Containerd(node.Name), Machine: node.Name, Program: "containerd", Stop: syscall.SIGTERM,
		Args: []string{"--config", config},
		Files: map[string][]byte{
			config: []byte(content),
			// Point to point, not a bridge: a pod's packets to a Service then pass the
			// node's routing, where kube-proxy's rules are, also when they come back to
			// a pod of the same node.
			filepath.Join(cni, "10-cluster.conflist"): mustJSON(map[string]any{
				"cniVersion": "1.0.0",
				"name":       "cluster",
				"plugins": []any{
					map[string]any{"type": "ptp", "ipMasq": false, "ipam": map[string]any{
						"type":    "host-local",
						"dataDir": "/run/cni-addresses",
						"ranges":  []any{[]any{map[string]any{"subnet": node.Pods.String()}}},
						"routes":  []any{map[string]any{"dst": "0.0.0.0/0"}},
					}},
					map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
				},
			}),
		},
	}
}

func kubelet(l layout.Layout, node network.Node, kubeconfigs Kubeconfigs) (Component, error) {
	folder := l.Config(node.Name)
	config := filepath.Join(folder, "kubelet.json")
	resolv := filepath.Join(folder, "resolv.conf")
	kubeconfig := KubeconfigFile(l, node.Name, "kubelet")
	own, err := kubeconfigs("system:node:"+node.Name, "system:nodes")
	if err != nil {
		return Component{}, err
	}
	proxy, err := kubeconfigs("system:kube-proxy")
	if err != nil {
		return Component{}, err
	}
	return Component{
		Name: Kubelet(node.Name), Machine: node.Name, Program: "kubelet", Stop: syscall.SIGTERM,
		Health: "http://127.0.0.1:10248/healthz",
		Args: []string{
			"--config=" + config, "--kubeconfig=" + kubeconfig,
			"--hostname-override=" + node.Name, "--node-ip=" + node.Address.String(),
		},
		Files: map[string][]byte{
			kubeconfig: own,
			KubeconfigFile(l, node.Name, "kube-proxy"): proxy,
			// There is no name server outside of the cluster; an empty file would mean 127.0.0.1.
			resolv: []byte("nameserver " + network.DNSService.String() + "\n"),
			config: mustJSON(map[string]any{
				"apiVersion": "kubelet.config.k8s.io/v1beta1",
				"kind":       "KubeletConfiguration",
				"authentication": map[string]any{
					"anonymous": map[string]any{"enabled": false},
					"webhook":   map[string]any{"enabled": true},
					"x509":      map[string]any{"clientCAFile": filepath.Join(l.PKI(), "ca.crt")},
				},
				"authorization":            map[string]any{"mode": "Webhook"},
				"tlsCertFile":              filepath.Join(l.PKI(), node.Name+".crt"),
				"tlsPrivateKeyFile":        filepath.Join(l.PKI(), node.Name+".key"),
				"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
				"cgroupDriver":             "cgroupfs",
				"cgroupRoot":               "/" + NodeGroup(l, node.Name),
				"failCgroupV1":             false,
				"failSwapOn":               false,
				"clusterDomain":            "cluster.local",
				"clusterDNS":               []string{network.DNSService.String()},
				"resolvConf":               resolv,
				// The disk is the developer's: how full it is is not the cluster's business.
				"evictionHard":                map[string]string{"memory.available": "2%", "nodefs.available": "1%", "imagefs.available": "1%"},
				"imageGCHighThresholdPercent": 100,
				"eventRecordQPS":              0,
				"serializeImagePulls":         false,
				// A test may kill a container many times over and wants it back.
				"crashLoopBackOff": map[string]any{"maxContainerRestartPeriod": "1s"},
				// The default lies in /usr, which the node shares with the machine outside.
				"volumePluginDir": "/var/lib/kubelet/volumeplugins",
			}),
		},
	}, nil
}

func kubeProxy(l layout.Layout, node network.Node) Component {
	return Component{
		Name: KubeProxy(node.Name), Machine: node.Name, Program: "kube-proxy", Stop: syscall.SIGTERM,
		Health: "http://" + node.Address.String() + ":10256/healthz",
		Args: []string{
			"--kubeconfig=" + KubeconfigFile(l, node.Name, "kube-proxy"),
			"--hostname-override=" + node.Name,
			"--proxy-mode=nftables",
			"--cluster-cidr=" + network.Pods.String(),
			"--healthz-bind-address=" + node.Address.String() + ":10256",
			// These are limits of the whole kernel, not of this machine's namespace.
			"--conntrack-max-per-core=0",
			"--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
		},
	}
}

// mustJSON encodes values that are written in this package; they always can be.
func mustJSON(value any) []byte {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(content, '\n')
}
