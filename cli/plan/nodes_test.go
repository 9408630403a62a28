package plan

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A pod asks for nodes in words that the API server can be asked in.
func TestSelectors(t *testing.T) {
	for spec, want := range map[string]string{
		`{}`:                          "",
		`{nodeSelector: {disk: ssd}}`: "disk=ssd",
		`{nodeSelector: {disk: ssd}, affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [
			{matchExpressions: [{key: zone, operator: In, values: [a, b]}, {key: old, operator: DoesNotExist}]}, {matchExpressions: [{key: gpu, operator: Exists}]}]}}}}`: "disk=ssd,!old,zone in (a,b) | disk=ssd,gpu",
		`{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: cores, operator: Gt, values: ["4"]}]}]}}}}`:  "error: it compares",
		`{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [a]}]}]}}}}`: "error: it asks for a node by its fields",
	} {
		parsed := read[corev1.PodSpec](t, spec)
		selectors, err := Selectors(&parsed)
		var texts []string
		for _, selector := range selectors {
			texts = append(texts, selector.String())
		}
		got := strings.Join(texts, " | ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want && (err == nil || !strings.HasPrefix(got, want)) {
			t.Errorf("%s: %q, want %q", spec, got, want)
		}
	}
}

// A node is missing only where one was looked for.
func TestNodes(t *testing.T) {
	asks := strings.Replace(worker, "    spec:\n", "    spec:\n      nodeSelector: {disk: ssd}\n", 1)
	for name, c := range map[string]struct {
		change func(*World)
		want   []string
	}{
		"none":      {func(w *World) { w.NodesAsked = true }, []string{"blocks NoNode: (disk=ssd)"}},
		"one":       {func(w *World) { w.NodesAsked, w.Nodes.Items = true, make([]corev1.Node, 1) }, nil},
		"unseen":    {func(w *World) { w.NodesAsked, w.Nodes.Not = true, "you may not list nodes" }, nil},
		"not asked": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) { expect(t, nodes(shop(t, asks, c.change)), c.want...) })
	}
}
