package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/operator/fence/probe"
)

func read(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	pod := new(corev1.Pod)
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestProbes(t *testing.T) {
	for name, test := range map[string]struct {
		pod   string
		want  []probe.Probe
		inPod bool
	}{
		"none": {pod: `{spec: {containers: [{name: worker}]}}`},
		"each kind, by names and numbers": {
			pod: `
spec:
  containers:
  - name: worker
    ports: [{name: web, containerPort: 8080}]
    livenessProbe: {httpGet: {path: "/healthz?full=1", port: web, scheme: HTTPS, httpHeaders: [{name: Host, value: shop.example}]}}
    readinessProbe: {grpc: {port: 9000, service: shop}}
    startupProbe: {tcpSocket: {port: "5000"}}
`,
			want: []probe.Probe{
				{Kind: probe.HTTP, Port: 8080, Path: "/healthz?full=1", TLS: true, Headers: []probe.Header{{Name: "Host", Value: "shop.example"}}},
				{Kind: probe.TCP, Port: 5000},
				{Kind: probe.GRPC, Port: 9000, Service: "shop"},
			},
		},
		"the same question twice": {
			pod:  `{spec: {containers: [{name: worker, livenessProbe: {httpGet: {path: /, port: 80}}, readinessProbe: {httpGet: {path: /, port: 80}}}]}}`,
			want: []probe.Probe{{Kind: probe.HTTP, Port: 80, Path: "/"}},
		},
		"not over the pod's network": {
			pod: `{spec: {containers: [{name: worker, livenessProbe: {exec: {command: [x]}}, readinessProbe: {httpGet: {host: 10.0.0.1, path: /, port: 80}}, startupProbe: {tcpSocket: {host: x, port: 1}}}]}}`,
		},
		"gRPC over TLS": {
			pod:  `{spec: {containers: [{name: worker, livenessProbe: {grpc: {port: 9000, mode: TLS}}, readinessProbe: {grpc: {port: 9000, mode: Plaintext}}}]}}`,
			want: []probe.Probe{{Kind: probe.GRPC, Port: 9000, TLS: true}, {Kind: probe.GRPC, Port: 9000}},
		},
		"a name that nobody has": {pod: `{spec: {containers: [{name: worker, livenessProbe: {tcpSocket: {port: web}}}]}}`},
		"another container's are its own": {
			pod: `
spec:
  containers:
  - {name: sidecar, ports: [{name: web, containerPort: 1}], livenessProbe: {tcpSocket: {port: 1}}}
  - {name: worker, ports: [{name: web, containerPort: 2}], livenessProbe: {tcpSocket: {port: web}}}
`,
			want: []probe.Probe{{Kind: probe.TCP, Port: 2}}, inPod: true,
		},
		"a native sidecar is one of the pod's": {
			pod:  `{spec: {initContainers: [{name: proxy, restartPolicy: Always}, {name: setup}], containers: [{name: worker, livenessProbe: {tcpSocket: {port: 2}}}]}}`,
			want: []probe.Probe{{Kind: probe.TCP, Port: 2}}, inPod: true,
		},
		"an init container that has ended is not": {
			pod:  `{spec: {initContainers: [{name: setup}], containers: [{name: worker, livenessProbe: {tcpSocket: {port: 2}}}]}}`,
			want: []probe.Probe{{Kind: probe.TCP, Port: 2}},
		},
		"it was not ready before": {
			pod: `
spec: {containers: [{name: worker, livenessProbe: {tcpSocket: {port: 1}}, readinessProbe: {tcpSocket: {port: 2}}}]}
status: {containerStatuses: [{name: worker, ready: false, restartCount: 0, image: "", imageID: ""}]}
`,
			want: []probe.Probe{{Kind: probe.TCP, Port: 1}},
		},
		"rewritten by Istio": {
			pod: `
spec:
  containers:
  - name: worker
    livenessProbe: {httpGet: {path: /app-health/worker/livez, port: 15020}}
    readinessProbe: {httpGet: {path: /app-health/worker/readyz, port: 15020}}
  - name: istio-proxy
    env: [{name: ISTIO_KUBE_APP_PROBERS, value: '{"/app-health/worker/livez":{"httpGet":{"path":"/healthz","port":8080,"scheme":"HTTP"},"timeoutSeconds":1},"/app-health/worker/readyz":{"tcpSocket":{"port":5000}}}'}]
    readinessProbe: {httpGet: {path: /healthz/ready, port: 15021}}
`,
			want: []probe.Probe{{Kind: probe.HTTP, Port: 8080, Path: "/healthz"}, {Kind: probe.TCP, Port: 5000}}, inPod: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, inPod := Probes(read(t, test.pod), "worker")
			if diff := cmp.Diff(test.want, got); diff != "" || inPod != test.inPod {
				t.Errorf("in the pod: %v; (-want +got)\n%s", inPod, diff)
			}
		})
	}
}
