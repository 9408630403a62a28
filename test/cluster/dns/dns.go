// Package dns describes the cluster's DNS server: CoreDNS as two pods behind the
// Service kube-dns.
package dns

import (
	"encoding/json"
	"fmt"

	"understudy.dev/understudy/test/cluster/network"
)

// Image is the DNS server's image.
const Image = "understudy.dev/coredns:own"

// Object is one object and where the API server keeps it.
type Object struct {
	Path    string
	Content []byte
}

// DeploymentPath is where the state of the DNS server can be read.
const DeploymentPath = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"

// corefile answers names of the cluster. There is nobody to ask for other names,
// so they do not exist: an answer at once, not a server failure that clients
// repeat. It is a server of its own, because within one server the order of
// plugins is fixed and template would answer before kubernetes is asked.
const corefile = `cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
    errors
    health {
        lameduck 1s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    loadbalance
    reload
}
.:53 {
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
    reload
}
`

type object = map[string]any
type list = []any

// Objects returns all that is to be applied, in order.
func Objects() ([]Object, error) {
	labels := object{"k8s-app": "kube-dns"}
	meta := func(name string) object {
		return object{"name": name, "namespace": "kube-system", "labels": labels}
	}
	probe := func(path string, port int) object {
		return object{"httpGet": object{"path": path, "port": port}, "periodSeconds": 2, "failureThreshold": 10}
	}
	const core, apps, rbac = "/api/v1/namespaces/kube-system", "/apis/apps/v1/namespaces/kube-system", "/apis/rbac.authorization.k8s.io/v1"
	objects := []struct {
		path    string
		content object
	}{
		{core + "/serviceaccounts/coredns", object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("coredns")}},
		{rbac + "/clusterroles/system:coredns", object{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": object{"name": "system:coredns"},
			"rules": list{
				object{"apiGroups": list{""}, "resources": list{"services", "pods", "namespaces"}, "verbs": list{"list", "watch"}},
				object{"apiGroups": list{"discovery.k8s.io"}, "resources": list{"endpointslices"}, "verbs": list{"list", "watch"}},
			},
		}},
		{rbac + "/clusterrolebindings/system:coredns", object{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": object{"name": "system:coredns"},
			"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
			"subjects": list{object{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}},
		}},
		{core + "/configmaps/coredns", object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("coredns"), "data": object{"Corefile": corefile}}},
		{core + "/services/kube-dns", object{"apiVersion": "v1", "kind": "Service", "metadata": meta("kube-dns"), "spec": object{
			"clusterIP": network.DNSService.String(), "selector": labels,
			"ports": list{
				object{"name": "dns", "port": 53, "protocol": "UDP"},
				object{"name": "dns-tcp", "port": 53, "protocol": "TCP"},
			},
		}}},
		{DeploymentPath, object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("coredns"), "spec": object{
			"replicas": len(network.Nodes),
			"selector": object{"matchLabels": labels},
			"template": object{"metadata": object{"labels": labels}, "spec": object{
				"serviceAccountName": "coredns",
				"priorityClassName":  "system-cluster-critical",
				// The cluster's own names through the server itself would be a circle.
				"dnsPolicy":   "Default",
				"tolerations": list{object{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}},
				// One on each node, so that a node may be taken away.
				"topologySpreadConstraints": list{object{
					"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
					"labelSelector": object{"matchLabels": labels},
				}},
				"containers": list{object{
					"name": "coredns", "image": Image, "imagePullPolicy": "Never",
					"args":           list{"-conf", "/etc/coredns/Corefile"},
					"ports":          list{object{"name": "dns", "containerPort": 53, "protocol": "UDP"}, object{"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"}},
					"readinessProbe": probe("/ready", 8181),
					"livenessProbe":  probe("/health", 8080),
					"resources":      object{"requests": object{"cpu": "10m", "memory": "32Mi"}},
					"volumeMounts":   list{object{"name": "config", "mountPath": "/etc/coredns", "readOnly": true}},
					"securityContext": object{
						"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
						"capabilities": object{"drop": list{"ALL"}, "add": list{"NET_BIND_SERVICE"}},
					},
				}},
				"volumes": list{object{"name": "config", "configMap": object{"name": "coredns"}}},
			}},
		}}},
	}
	var result []Object
	for _, o := range objects {
		content, err := json.Marshal(o.content)
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", o.path, err)
		}
		result = append(result, Object{o.path, content})
	}
	return result, nil
}
