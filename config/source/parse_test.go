package source

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	want := map[string]any{
		"target":  map[string]any{"path": "deployment/worker", "Labels": map[string]any{"App.Kubernetes.io/Name": "x"}},
		"on":      true,
		"ports":   []any{80.0, 443.0},
		"ratio":   0.5,
		"nothing": nil,
	}
	for format, text := range map[Format]string{
		JSON: `// a comment
{
  "target": {"path": "deployment/worker", "Labels": {"App.Kubernetes.io/Name": "x"}},
  /* another */ "on": true,
  "ports": [80, 443,],
  "ratio": 0.5,
  "nothing": null,
}
`,
		YAML: `
target: &t
  path: deployment/worker
  Labels: {App.Kubernetes.io/Name: x}
"on": true
ports: [80, 443]
ratio: 0.5
nothing:
`,
		TOML: `
# a comment
on = true
ports = [80, 443]
ratio = 0.5
[target]
path = "deployment/worker"
Labels."App.Kubernetes.io/Name" = "x"
`,
	} {
		node, err := Parse("f", format, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		got := node.Plain().(map[string]any)
		if format == TOML { // which has no null
			got["nothing"] = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

func TestLines(t *testing.T) {
	for format, text := range map[Format]string{
		JSON: "{\n \"a\": {\n  \"b\":\n 1 } }",
		YAML: "\na:\n  b: 1\n",
		TOML: "\n[a]\nb = 1\n",
	} {
		node, err := Parse("f", format, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		a := node.Value.([]Member)[0]
		b := a.Value.Value.([]Member)[0]
		if a.Line != 2 || b.Line != 3 {
			t.Errorf("%s: lines %d and %d", format, a.Line, b.Line)
		}
	}
	node, err := Parse("f", TOML, []byte("x = {y = 1,\n z = 2}\n[a.b]\nc.d = [\n1,\n]\n"))
	if err == nil {
		t.Log(node) // a line break there is TOML 1.1
	}
	node, err = Parse("f", TOML, []byte("x = {y = 1}\n[a.b]\n\nc.d = [\n1,\n]\n"))
	if err != nil {
		t.Fatal(err)
	}
	c := node.Member("a").Member("b").Value.([]Member)[0]
	if d := c.Value.Value.([]Member)[0]; c.Line != 4 || d.Key != "d" || d.Line != 4 {
		t.Errorf("%+v %+v", c, d)
	}
}

func TestMergedAndEmpty(t *testing.T) {
	node, err := Parse("f", YAML, []byte("base: &b {x: 1, y: 2}\nmine: {<<: *b, y: 3}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"x": 1.0, "y": 3.0}, node.Member("mine").Plain()); diff != "" {
		t.Error(diff)
	}
	for _, format := range []Format{JSON, YAML, TOML} {
		if node, err := Parse("f", format, []byte(" \n")); err != nil || len(node.Value.([]Member)) != 0 {
			t.Errorf("%s: %v, %v", format, node, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct {
		format     Format
		text, want string
	}{
		{JSON, "{\n \"a\": 1\n \"b\": 2}", `f:3: this is no JSON: invalid character '"' after object value (expecting ',' or '}')`},
		{JSON, "{\n \"a\": 1,\n \"a\": 2}", `f:3: the key "a" is there twice, first in line 2`},
		{JSON, "[1]", "f:1: a configuration is an object, and this is a list"},
		{YAML, "a: 1\n b: 2", "f:2: this is no YAML: mapping values are not allowed in this context"},
		{YAML, "a: 1\na: 2", `f:2: the key "a" is there twice, first in line 1`},
		{YAML, "a: 1\n---\nb: 1", "f:2: a file holds one document, and here begins another"},
		{YAML, "a: &x [*x]", "f:1: this is nested too deep"},
		{YAML, bomb(), "f:1: with what its aliases stand for this file has more than 100000 values"},
		{YAML, "a:\n\t- b\n", "f:2: this is no YAML: a tab stands where only spaces may indent"},
		{TOML, "a = 1\n[b]\na = 1\n\na = 2", `f:5: the key "a" is there twice, first in line 3`},
		{TOML, "[[b]]\na = 1\n[[b]]\na = 2\n[c]\n[c]", `f:6: the key "c" is there twice, first in line 5`},
		{TOML, "a = 1\nb = nope", "f:2: this is no TOML: a text has to stand in quotes"},
		{TOML, "a = 1\nb = ", "f:2: this is no TOML: a value is missing"},
		{TOML, "a = 1\nb = \nc = 2", "f:2: this is no TOML: a value is missing"},
		{YAML, "a: b: c", "f:1: this is no YAML: mapping values are not allowed in this context"},
	} {
		_, err := Parse("f", tc.format, []byte(tc.text))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%q:\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
}

// TestAdvice: where a library only says what it met, what to do is said too.
func TestAdvice(t *testing.T) {
	for text, want := range map[string]string{
		"json {\"a\": b}":          "double quotes",
		"json {'a': 1}":            "double quotes",
		"json {\"a\": 1 \"b\": 2}": "comma",
		"json {\"a\": 1":           "missing at the end",
		"yaml a: b: c":             "stands in quotes",
		"yaml a: {b: 1\nc: 2":      "is missing",
		"yaml a:\n  - b\n  c: 1":   "same column",
		"yaml a: @b":               "stands in quotes",
		"yaml a: \"b":              "a quote is missing",
		"toml a = b":               "write",
	} {
		format, text, _ := strings.Cut(text, " ")
		_, err := Parse("f", Format(format), []byte(text))
		var placed *Error
		if !errors.As(err, &placed) || placed.Line == 0 || !strings.Contains(placed.Advice, want) {
			t.Errorf("%s: %v, advice %q; want %s", text, err, placed.Hint(), want)
		}
	}
}

// bomb is a small file that stands for a billion values.
func bomb() string {
	text := "a0: &a0 [" + strings.Repeat("x,", 10) + "]\n"
	for i := 1; i < 9; i++ {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10))
	}
	return text
}
