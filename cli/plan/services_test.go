package plan

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/cli/target"
)

// Who else is behind the same Service, and what runs in the same pod.
func TestBeside(t *testing.T) {
	w := shop(t, strings.Replace(worker, "      containers:\n", "      initContainers: [{name: once, image: x}, {name: mesh, image: x, restartPolicy: Always}]\n      containers:\n      - {name: proxy, image: x}\n", 1), func(w *World) {
		w.Services = seeing[corev1.Service](t,
			"{metadata: {name: front}, spec: {selector: {app: worker}, ports: [{port: 80, targetPort: 8080}]}}",
			"{metadata: {name: other}, spec: {selector: {app: web}, ports: [{port: 80}]}}")
		w.Workloads.Items = []target.Listed{
			listed(t, "canary", "{metadata: {labels: {app: worker, track: canary}}, spec: {containers: [{name: c}]}}"),
			listed(t, "web", "{metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}"),
		}
	})
	expect(t, services(w), "notes SharedService: service front leads to deployment/canary too")
	expect(t, containers(w), "notes OtherContainers: containers proxy, mesh go on in the stand-in")
	w.Asked.ExcludeContainers = []string{"*"}
	w.rehearse()
	expect(t, containers(w))
}
