package config

import (
	"slices"
	"strings"
	"testing"
)

// Of a value with elements the one that is wrong is told, at its own line.
func TestMistyped(t *testing.T) {
	for text, want := range map[string]string{
		"feature:\n  env:\n    override:\n      A: one\n      B: [1]\n":                  `f.yaml:5: feature.env.override.B is a list, where a string is expected`,
		"feature:\n  env:\n    include:\n      - A_*\n      - 3\n":                       `f.yaml:5: feature.env.include[1] is 3, where a string is expected`,
		"feature:\n  network:\n    incoming:\n      ports:\n        - 80\n        - x\n": `f.yaml:6: feature.network.incoming.ports[1] is "x", where a port from 1 to 65535 is expected`,
		"feature: {network: {incoming: {port_mapping: [[80, 8080],\n [90]]}}}":           `f.yaml:2: feature.network.incoming.port_mapping[1] is a list, where a pair of ports, as in [8080, 80], is expected`,
		"listen:\n - all\n - {}\n":          `f.yaml:3: listen[1] is an object, where a port from 1 to 65535, or all, is expected`,
		"feature: {env: {override: [a]}}":   `f.yaml:1: feature.env.override is a list, where an object of strings is expected`,
		"feature: {env: {include: {a: b}}}": `f.yaml:1: feature.env.include is an object, where a string or a list of strings is expected`,
	} {
		_, err := setup{files: map[string]string{"f.yaml": text}, args: []string{"-f", "f.yaml"}}.read(t)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestMistypedElements: each of them that is wrong is told, and none that is right.
func TestMistypedElements(t *testing.T) {
	for text, want := range map[string][]string{
		"feature:\n  env:\n    include:\n      - 3\n      - A_*\n      - {}\n": {
			`f.yaml:4: feature.env.include[0] is 3, where a string is expected`, `f.yaml:6: feature.env.include[2] is an object, where a string is expected`},
		"feature:\n  env:\n    override:\n      A: [1]\n      B: two\n      C: {}\n": {
			`f.yaml:4: feature.env.override.A is a list, where a string is expected`, `f.yaml:6: feature.env.override.C is an object, where a string is expected`},
		"feature:\n  network:\n    incoming:\n      ports: [x, 80,\n        0]\n": {
			`f.yaml:4: feature.network.incoming.ports[0] is "x", where a port from 1 to 65535 is expected`, `f.yaml:5: feature.network.incoming.ports[2] is 0, where a port from 1 to 65535 is expected`},
	} {
		_, err := setup{files: map[string]string{"f.yaml": text}, args: []string{"-f", "f.yaml"}}.read(t)
		problems, _ := err.(Problems) //nolint:errorlint // it returns nothing else
		var got []string
		for _, p := range problems {
			got = append(got, p.Error())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %q\nwant %q", text, got, want)
		}
	}
}
