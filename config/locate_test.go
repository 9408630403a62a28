package config

import (
	"slices"
	"testing"

	"understudy.dev/understudy/config/decision"
)

// TestLocate: what does not go together, or is not served yet, is told with
// where it was said, by file, variable or flag.
func TestLocate(t *testing.T) {
	const name = ".understudy/understudy.yaml"
	network := func(text string) string {
		return "target: pod/w\nfeature:\n  network:\n" + text
	}
	for _, tc := range []struct {
		text    string
		environ map[string]string
		args    []string
		want    string
	}{
		{"target: pod/w\nfeature:\n  env:\n    include: A\n    exclude: B\n", nil, nil,
			name + ":4: feature.env.include and feature.env.exclude exclude each other (the other: " + name + ":5)"},
		{"target: pod/w\nfeature: {env: {include: A, exclude: B}}\n", nil, nil,
			name + ":2: feature.env.include and feature.env.exclude exclude each other"},
		{"target: pod/w\n", map[string]string{"MIRRORD_OVERRIDE_ENV_VARS_INCLUDE": "A", "UNDERSTUDY_OVERRIDE_ENV_VARS_EXCLUDE": "B"}, nil,
			"MIRRORD_OVERRIDE_ENV_VARS_INCLUDE: feature.env.include and feature.env.exclude exclude each other (the other: UNDERSTUDY_OVERRIDE_ENV_VARS_EXCLUDE)"},
		{network("    incoming:\n      ports: [1]\n      ignore_ports: [2]\n"), nil, nil,
			name + ":5: feature.network.incoming.ports and ignore_ports exclude each other (the other: " + name + ":6)"},
		{network("    incoming:\n      port_mapping: [[1, 2]]\n      ignore_ports: [2]\n"), nil, nil,
			name + ":5: feature.network.incoming: port 2 is in port_mapping and in ignore_ports (the other: " + name + ":6)"},
		{network("    outgoing:\n      filter:\n        local: a\n        remote: b\n"), nil, nil,
			name + ":6: feature.network.outgoing.filter.local and remote exclude each other (the other: " + name + ":7)"},
		{network("    dns:\n      filter:\n        remote: 'a b'\n"), nil, nil,
			name + `:6: feature.network.dns.filter: "a b" is no name`},
		{network("    outgoing:\n      filter:\n        local: 'a b'\n"), nil, nil,
			name + `:6: feature.network.outgoing.filter: "a b" is no destination`},
		{network("    outgoing:\n      filter:\n        local:\n          - a\n          - 'a b'\n"), nil, nil,
			name + `:8: feature.network.outgoing.filter: "a b" is no destination`},
		{"target: pod/w\nfeature:\n  env:\n    override:\n      A: b\n      'B=C': d\n", nil, nil,
			name + `:6: feature.env.override: "B=C" is no name of a variable`},
		{"target: pod/w\nfeature:\n  fs:\n    mapping:\n      ^/a: b\n", nil, nil,
			name + `:5: feature.fs.mapping leads "^/a" to "b", which is no path`},
		{"target: pod/w\n", nil, []string{"--pause", "--copy-target"}, "--pause and --copy-target exclude each other"},
		{network("    incoming: mirror\n"), nil, nil, name + ":4: feature.network.incoming.mode mirror does not work yet"},
		{network("    incoming:\n      http_filter: {path_filter: x}\n"), nil, nil,
			name + ":5: feature.network.incoming.http_filter is not taken: " + decision.Key("feature.network.incoming.http_filter").Text},
		{network("    outgoing:\n      unix_streams: x\n"), nil, nil,
			name + ":5: feature.network.outgoing.unix_streams is not taken: " + decision.Key("feature.network.outgoing.unix_streams").Text},
		{"\npause: true\n", nil, nil, name + ":2: there is nothing to pause without a target"},
		{"\nagent: {pause: true}\n", nil, nil, name + ":2: there is nothing to pause without a target"},
		{"\n\ntakeover: freeze\ntarget: targetless\n", nil, nil, name + ":3: there is nothing to pause without a target (the other: " + name + ":4)"},
		{"", map[string]string{"MIRRORD_PAUSE": "true"}, nil, "MIRRORD_PAUSE: there is nothing to pause without a target"},
		{"", nil, []string{"--pause"}, "--pause: there is nothing to pause without a target"},
		{"target: service/x\nfeature:\n  copy_target: true\n", nil, nil, name + ":1: a Service runs no pods that could be copied, held or attached to"},
		{"feature:\n  copy_target: {}\ntarget: targetless\n", nil, nil,
			name + ":3: a stand-in is a copy of a target, and targetless has none (the other: " + name + ":2)"},
		{"", nil, []string{"-t", "targetless", "--copy-target"}, "--target: a stand-in is a copy of a target, and targetless has none (the other: --copy-target)"},
		{"operator: false\ntarget: pod/w\n", nil, []string{"--copy-target"},
			name + ":1: a stand-in is made by the operator, and operator: false forbids it (the other: --copy-target)"},
		{"target: pod/w\npause: true\nfeature:\n  copy_target: true\n", nil, nil,
			name + ":2: pause and feature.copy_target exclude each other (the other: " + name + ":4)"},
		{"target: pod/w\nfeature:\n  copy_target:\n    enabled: false\n    scale_down: true\n", nil, nil,
			name + ":5: feature.copy_target.scale_down needs a stand-in that runs instead of the target"},
		{"target: pod/w\n", map[string]string{"UNDERSTUDY_LEASE": "4s"}, nil, "UNDERSTUDY_LEASE: a lease of 4s is not possible"},
		{"target: pod/w\ntakeover: copy\nrelease_connections: false\n", nil, nil,
			name + ":3: connections are kept open only where something is frozen (the other: " + name + ":2)"},
	} {
		_, err := setup{files: map[string]string{name: tc.text}, environ: tc.environ, args: tc.args}.read(t)
		problems, _ := err.(Problems) //nolint:errorlint // it returns nothing else
		if !slices.ContainsFunc(problems, func(p *Problem) bool { return p.Error() == tc.want }) {
			t.Errorf("%q %v %q:\n got %v\nwant %s", tc.text, tc.environ, tc.args, err, tc.want)
		}
	}
}
