package plan

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// The agent is made to fit; a container beside it may not any more.
func TestLimits(t *testing.T) {
	const bounds = `{metadata: {name: bounds}, spec: {limits: [{type: Container, min: {memory: 64Mi}, max: {memory: 1Gi}, default: {memory: 512Mi}}]}}`
	big := strings.Replace(worker, "      - name: app", "      - {name: proxy, image: x, resources: {limits: {memory: 2Gi}}}\n      - name: app", 1)
	for name, c := range map[string]struct {
		manifest string
		want     []string
	}{
		"the agent alone": {worker, nil},
		"one too big":     {big, []string{"blocks LimitRange: (bounds): memory of container proxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, c.manifest, func(w *World) { w.LimitRanges = seeing[corev1.LimitRange](t, bounds) })
			expect(t, limits(w), c.want...)
		})
	}
	pods := `{metadata: {name: pods}, spec: {limits: [{type: Pod, max: {memory: 1Gi}}]}}`
	w := shop(t, big, func(w *World) { w.LimitRanges = seeing[corev1.LimitRange](t, pods) })
	expect(t, limits(w), "blocks LimitRange: memory of the pod")
}
