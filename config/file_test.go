package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestForms: the ways in which the same may be written.
func TestForms(t *testing.T) {
	const json = ".mirrord/mirrord.json"
	read := func(t *testing.T, text string) *Config {
		t.Helper()
		c, err := setup{files: map[string]string{json: text}}.read(t)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		c.File, c.Notices = "", nil
		return c
	}
	for want, forms := range map[string][]string{
		`{"target": "deployment/a/container/b"}`: {
			`{"target": {"path": "deployment/a/container/b"}}`, `{"target": {"path": {"deployment": "a", "container": "b"}}}`,
			`{"target": {"deployment": "a", "container": "b"}}`, `{"target": {"path": "deployment/a", "container": "b"}}`,
			"// a comment\n{\"target\": \"deployment/a/container/b\",}", `{"target": {"deployment": "a", "container": "b", "pod": null}}`,
		},
		`{"feature": {"env": {"exclude": ["*"]}}}`:                {`{"feature": {"env": false}}`, `{"feature": {"env": {"exclude": "*"}}}`},
		`{"feature": {"env": {"include": ["A", "B*"]}}}`:          {`{"feature": {"env": {"include": "A;B*"}}}`, `{"feature": {"env": {"include": " A ; B*; "}}}`},
		`{"feature": {"fs": {"mode": "local"}}}`:                  {`{"feature": {"fs": "local"}}`, `{"feature": {"fs": false}}`},
		`{}`:                                                      {`{"feature": {"env": true, "fs": true, "network": true}}`, `{"feature": null}`, `{"feature": {"network": {"incoming": true, "dns": {}}}}`},
		`{"feature": {"network": {"incoming": {"mode": "off"}}}}`: {`{"feature": {"network": {"incoming": "off"}}}`, `{"feature": {"network": {"incoming": false}}}`},
		`{"feature": {"network": {"incoming": "off", "outgoing": {"tcp": false, "udp": false}, "dns": {"enabled": false}}}}`: {
			`{"feature": {"network": false}}`, `{"feature": {"network": {"incoming": "off", "outgoing": false, "dns": false}}}`},
		`{"setup_timeout": "5m"}`: {`{"agent": {"startup_timeout": 300}}`, `{"setup_timeout": 300}`},
	} {
		for _, form := range forms {
			if diff := cmp.Diff(read(t, want), read(t, form)); diff != "" {
				t.Errorf("%s and %s (-first +second):\n%s", want, form, diff)
			}
		}
	}
}

// TestAsWritten: a variable has the characters of the file, in each format,
// and has them still when the configuration is shown and read.
func TestAsWritten(t *testing.T) {
	written := map[string][]string{
		"json": {"1.10", "12345678901234567890", "123456789012345678901234567890", "1000000.0", "1e3", "-0", "true"},
		"yaml": {"1.10", "12345678901234567890", "123456789012345678901234567890", "1000000.0", "1e3", "01234", "0755", "0o17", "0x1F", "1_000", "True", "2026-01-02"},
		"toml": {"1.10", "1000000.0", "1e3", "0x1F", "0o17", "1_000", "+1", "true", "2026-01-02", "1979-05-27T07:32:00Z"},
	}
	for format, values := range written {
		for _, value := range values {
			text := map[string]string{
				"json": `{"feature": {"env": {"override": {"A": ` + value + `}}}}`,
				"yaml": "feature:\n  env:\n    override:\n      A: " + value + "\n",
				"toml": "[feature.env.override]\nA = " + value + "\n",
			}[format]
			first, err := setup{files: map[string]string{".understudy/understudy." + format: text}}.read(t)
			if got := first.Env.Override["A"]; err != nil || got != value {
				t.Errorf("%s: %s is %q, %v", format, value, got, err)
			}
			shown, err := first.Show(false)
			if err != nil {
				t.Fatal(err)
			}
			second, err := setup{files: map[string]string{".understudy/understudy.yaml": string(shown)}}.read(t)
			if got := second.Env.Override["A"]; err != nil || got != value {
				t.Errorf("%s: %s is %q after it was shown, %v", format, value, got, err)
			}
		}
	}
	_, err := setup{files: map[string]string{".understudy/understudy.yaml": "lease: !!int many"}}.read(t)
	if want := `.understudy/understudy.yaml:1: this is no YAML: "many" is not what its tag !!int says`; errorText(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestEmpty: a section of what is not taken, or has no meaning here, asks for
// nothing where it is empty.
func TestEmpty(t *testing.T) {
	const text = `{"target": "deployment/w", "takeover": "scale-down", "internal_proxy": {}, "feature": {"db_branches": [], "split_queues": {},
		"network": {"incoming": {"http_filter": {}}, "outgoing": {"unix_streams": []}}}}`
	c, err := setup{files: map[string]string{".understudy/understudy.json": text}}.read(t)
	if err != nil || len(c.Notices) > 0 {
		t.Errorf("notices %q, %v", c.Notices, err)
	}
	for _, text := range []string{`{"db_branches": [{}]}`, `{"split_queues": {"a": {}}}`, `{"network": {"incoming": {"http_filter": "x"}}}`} {
		if _, err := (setup{files: map[string]string{".understudy/understudy.json": `{"target": "deployment/w", "feature": ` + text + `}`}}).read(t); !strings.Contains(errorText(err), "is not taken") {
			t.Errorf("%s: %v", text, err)
		}
	}
	// Of what is taken an empty section may mean much.
	if c, err := (setup{files: map[string]string{".understudy/understudy.json": `{"target": "deployment/w", "feature": {"copy_target": {}}}`}}).read(t); err != nil || c.Takeover != TakeoverCopy {
		t.Errorf("an empty copy_target is %s, %v", c.Takeover, err)
	}
}

// TestSaidTwice: of two places for one key that differ none is dropped.
func TestSaidTwice(t *testing.T) {
	const file = ".understudy/understudy.yaml"
	for text, want := range map[string]string{
		"pause: 'yes'\nagent: {pause: true}\n":                             file + `:2: agent.pause is true, and ` + file + `:1 says with pause that it is "yes"`,
		"pause: false\nagent: {pause: true}\n":                             file + `:2: agent.pause is true, and ` + file + `:1 says with pause that it is false`,
		"agent: {startup_timeout: 30}\nsetup_timeout: 20":                  file + `:2: setup_timeout is 20, and ` + file + `:1 says with agent.startup_timeout that it is 30`,
		"target:\n  path: deployment/a\n  deployment: b\n":                 file + ":3: the target is deployment/b, and " + file + ":2 says that it is deployment/a",
		"target:\n  path: {pod: a}\n  deployment: a\n":                     file + ":3: the target is deployment/a, and " + file + ":2 says that it is pod/a",
		"target:\n  path: deployment/a/container/c\n  container: d\n":      file + ":3: the target's container is d, and " + file + ":2 says that it is c",
		"target:\n  path: {deployment: a, container: c}\n  container: d\n": file + ":3: the target's container is d, and " + file + ":2 says that it is c",
		"target: deployment/a\npause: true\nagent: {pause: true}\n":        "",
		"target:\n  path: deployment/a\n  deployment: a\n  container: c":   "",
		"target:\n  path: deployment/a/container/c\n  container: c":        "",
		"feature: {copy_target: {enabled: false}}":                         "",
	} {
		_, err := setup{files: map[string]string{file: text}}.read(t)
		if said := errorText(err); (want == "") != (said == "") || !strings.Contains(said, want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestKey: what {{ key }} stands for.
func TestKey(t *testing.T) {
	target := func(s setup) string {
		t.Helper()
		c, err := s.read(t)
		if err != nil {
			t.Fatal(err)
		}
		return c.Target
	}
	const says = `{"key": "{{ get_env(name="WHO", default="nobody") }}", "target": "deployment/{{ key }}", "takeover": "copy"}`
	const silent = `{"target": "deployment/{{ key }}", "takeover": "copy"}`
	for name, tc := range map[string]struct {
		setup setup
		want  string
	}{
		"the file's":       {setup{map[string]string{".understudy/understudy.json": says}, map[string]string{"WHO": "ada"}, nil}, "deployment/ada"},
		"the variable's":   {setup{map[string]string{".understudy/understudy.json": says}, map[string]string{"MIRRORD_KEY": "bob"}, nil}, "deployment/bob"},
		"the flag's":       {setup{map[string]string{".understudy/understudy.json": says}, map[string]string{"MIRRORD_KEY": "bob"}, []string{"--key", "eve"}}, "deployment/eve"},
		"the silent one's": {setup{map[string]string{".understudy/understudy.json": silent}, nil, []string{"--key", "eve"}}, "deployment/eve"},
	} {
		if got := target(tc.setup); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	if got := target(setup{files: map[string]string{".understudy/understudy.json": silent}}); len(got) != len("deployment/")+8 {
		t.Errorf("made up: %s", got)
	}
}

// TestBroken: what is wrong with a file as a whole, in the file's own lines.
func TestBroken(t *testing.T) {
	for text, want := range map[string]string{
		"{% if key == 'x' %}\n\"lease\": 30,\n{% endif %}\n{\n \"lease\": 30\n \"takeover\": 1}": ".understudy/understudy.json:6: this is no JSON: ",
		"\n{{ nope }}": ".understudy/understudy.json:2: in {{ nope }}: there is no variable",
		"[]":           ".understudy/understudy.json:1: a configuration is an object, and this is a list",
	} {
		_, err := setup{files: map[string]string{".understudy/understudy.json": text}, args: []string{"--copy-target"}}.read(t)
		if !strings.HasPrefix(errorText(err), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}
