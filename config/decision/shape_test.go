package decision

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShapes: the list's types, as they are read.
func TestShapes(t *testing.T) {
	text, boolean := Shape{Kind: "string"}, Shape{Kind: "boolean"}
	for key, want := range map[string][]Shape{
		"telemetry":                   {boolean, boolean},
		"agent.ttl":                   {{Kind: "integer", Most: 65535}, {Kind: "integer", Most: 65535}},
		"agent.dns.timeout":           {{Kind: "integer", Most: math.MaxUint32}, {Kind: "integer", Most: math.MaxUint32}},
		"container.override_host_ip":  {text},
		"skip_processes":              {text, {Kind: "list", Of: []Shape{text}}, text, {Kind: "list", Of: []Shape{text}}},
		"agent.annotations":           {{Kind: "object", Of: []Shape{text}}},
		"agent.resources.limits":      {{Kind: "object", Of: []Shape{text}}, {Kind: "object", Of: []Shape{{Kind: "any"}}}},
		"agent.image":                 {text, {Kind: "object"}, text, {Kind: "object"}},
		"agent.disabled_capabilities": {{Kind: "list", Of: []Shape{{Kind: "string", Values: []string{"SYS_ADMIN", "SYS_PTRACE", "NET_RAW", "NET_ADMIN"}}}}, {Kind: "list", Of: []Shape{text}}},
		"agent.tolerations[].tolerationSeconds": {
			{Kind: "integer", Least: math.MinInt64, Most: math.MaxInt64}, {Kind: "integer", Least: math.MinInt64, Most: math.MaxInt64}},
		"feature.fs": {boolean, {Kind: "any"}, {Kind: "any"}, boolean, {Kind: "any"}, {Kind: "any"}},
		"nope":       nil,
	} {
		if diff := cmp.Diff(want, Shapes(key)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if got, want := Below("agent.dns"), []string{"attempts", "timeout"}; !slices.Equal(got, want) {
		t.Errorf("below agent.dns: %q, want %q", got, want)
	}
	for key, want := range map[string]string{
		"agent.ttl": "a whole number from 0 to 65535", "skip_processes": "a string or a list of strings", "agent.image": "a string or an object",
		"startup_retry.max_ms": "a whole number from 0", "telemetry": "true or false",
	} {
		if got := Expected(Shapes(key)); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

// TestMeaninglessHasAShape: what cannot be told by a field of ours is told by theirs.
func TestMeaninglessHasAShape(t *testing.T) {
	for _, row := range Keys {
		if row.Verdict == Meaningless && Shapes(row.Name) == nil {
			t.Errorf("nothing is known of what may stand in %s", row.Name)
		}
	}
}
