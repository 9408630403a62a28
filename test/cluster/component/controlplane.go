package component

import (
	"fmt"
	"path/filepath"
	"syscall"

	"understudy.dev/understudy/test/cluster/layout"
	"understudy.dev/understudy/test/cluster/network"
)

// Names of the control plane's components.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
)

// APIPort is where the API server listens on the control machine.
const APIPort = 6443

// Issuer is whom the cluster's service account tokens are from.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// KubeconfigFile is where the kubeconfig of a component of a machine is kept.
func KubeconfigFile(l layout.Layout, machine, name string) string {
	return filepath.Join(l.Config(machine), name+kubeconfigSuffix)
}

const kubeconfigSuffix = ".kubeconfig"

func controlPlane(l layout.Layout) []Component {
	pki := func(name string) string { return filepath.Join(l.PKI(), name) }
	manager := KubeconfigFile(l, network.ControlName, ControllerManager)
	scheduler := KubeconfigFile(l, network.ControlName, Scheduler)
	etcd := "http://127.0.0.1:2379"
	return []Component{{
		Name: Etcd, Machine: network.ControlName, Program: "etcd", Stop: syscall.SIGTERM,
		Health: "http://127.0.0.1:2379/health",
		Args: []string{
			// Only the control machine's own loopback: nothing else can reach it.
			"--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=default=http://127.0.0.1:2380",
			"--data-dir=/var/lib/etcd",
			// What is stored need not outlive the machine, and a slow disk must not slow the tests.
			"--unsafe-no-fsync=true",
			"--log-level=warn",
		},
	}, {
		Name: APIServer, Machine: network.ControlName, Program: "kube-apiserver", Stop: syscall.SIGTERM,
		Args: []string{
			"--etcd-servers=" + etcd,
			"--advertise-address=" + network.Control.String(),
			fmt.Sprintf("--secure-port=%d", APIPort),
			"--service-cluster-ip-range=" + network.Services.String(),
			"--client-ca-file=" + pki("ca.crt"),
			"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
			"--kubelet-certificate-authority=" + pki("ca.crt"),
			"--kubelet-client-certificate=" + pki("kubelet-client.crt"), "--kubelet-client-key=" + pki("kubelet-client.key"),
			// No name of a node can be looked up from here.
			"--kubelet-preferred-address-types=InternalIP",
			"--service-account-issuer=" + Issuer,
			"--service-account-key-file=" + pki("serviceaccount.crt"), "--service-account-signing-key-file=" + pki("serviceaccount.key"),
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			"--requestheader-client-ca-file=" + pki("frontproxy-ca.crt"),
			"--requestheader-allowed-names=front-proxy",
			"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file=" + pki("frontproxy.crt"), "--proxy-client-key-file=" + pki("frontproxy.key"),
			// Webhooks and aggregated APIs are dialled by pod address: the control machine has no kube-proxy.
			"--enable-aggregator-routing=true",
		},
	}, {
		Name: ControllerManager, Machine: network.ControlName, Program: "kube-controller-manager", Stop: syscall.SIGTERM,
		Args: []string{
			"--kubeconfig=" + manager, "--authentication-kubeconfig=" + manager, "--authorization-kubeconfig=" + manager,
			"--bind-address=127.0.0.1",
			"--root-ca-file=" + pki("ca.crt"),
			"--service-account-private-key-file=" + pki("serviceaccount.key"),
			"--cluster-signing-cert-file=" + pki("ca.crt"), "--cluster-signing-key-file=" + pki("ca.key"),
			"--use-service-account-credentials=true",
			// The default lies in /usr, and would be made there.
			"--flex-volume-plugin-dir=/var/lib/kubelet/volumeplugins",
			"--leader-elect=false",
		},
	}, {
		Name: Scheduler, Machine: network.ControlName, Program: "kube-scheduler", Stop: syscall.SIGTERM,
		Args: []string{
			"--kubeconfig=" + scheduler, "--authentication-kubeconfig=" + scheduler, "--authorization-kubeconfig=" + scheduler,
			"--bind-address=127.0.0.1",
			"--leader-elect=false",
		},
	}}
}
