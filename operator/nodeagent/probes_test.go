package nodeagent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/agent/settings"
)

func TestProbes(t *testing.T) {
	http := func(port intstr.IntOrString, path, host string, scheme corev1.URIScheme) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: port, Path: path, Host: host, Scheme: scheme}}}
	}
	for name, test := range map[string]struct {
		liveness, readiness *corev1.Probe
		want                []settings.Probe
	}{
		"none":        {nil, nil, nil},
		"a command's": {command(), nil, nil},
		"HTTP by a port's name": {
			http(intstr.FromString("web"), "/healthz", "", corev1.URISchemeHTTP), nil,
			[]settings.Probe{{Kind: "http", Port: 8080, Path: "/healthz"}},
		},
		"one port asked twice": {
			http(intstr.FromInt32(8080), "/healthz", "", corev1.URISchemeHTTPS), http(intstr.FromInt32(8080), "/ready", "", corev1.URISchemeHTTPS),
			[]settings.Probe{{Kind: "http", Port: 8080, Path: "/healthz", TLS: true}, {Kind: "http", Port: 8080, Path: "/ready", TLS: true}},
		},
		"the same question": {
			http(intstr.FromInt32(8080), "/", "", ""), http(intstr.FromInt32(8080), "/", "", ""),
			[]settings.Probe{{Kind: "http", Port: 8080, Path: "/"}},
		},
		"HTTP with a header": {
			func() *corev1.Probe {
				p := http(intstr.FromInt32(8080), "/", "", "")
				p.HTTPGet.HTTPHeaders = []corev1.HTTPHeader{{Name: "Host", Value: "worker"}}
				return p
			}(), nil,
			[]settings.Probe{{Kind: "http", Port: 8080, Path: "/", Headers: []settings.Header{{Name: "Host", Value: "worker"}}}},
		},
		"another host's": {http(intstr.FromInt32(8080), "/", "example.com", ""), nil, nil},
		"TCP and gRPC": {
			&corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9000)}}},
			&corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9001, Service: ptr.To("worker")}}},
			[]settings.Probe{{Kind: "tcp", Port: 9000}, {Kind: "grpc", Port: 9001, Service: "worker"}},
		},
		"a name that there is not": {http(intstr.FromString("nothing"), "/", "", ""), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			pod := worker(func(p *corev1.Pod) {
				c := &p.Spec.Containers[1]
				c.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}
				c.LivenessProbe, c.ReadinessProbe = test.liveness, test.readiness
			})
			if diff := cmp.Diff(test.want, Probes(pod, "worker")); diff != "" {
				t.Errorf("probes (-want +got):\n%s", diff)
			}
		})
	}
}
