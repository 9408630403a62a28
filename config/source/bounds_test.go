package source

import (
	"strings"
	"testing"
)

// TestTemplatesAreBounded: what would overflow the stack or the memory is refused.
func TestTemplatesAreBounded(t *testing.T) {
	for text, want := range map[string]string{
		"{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}": "macro is not taken",
		`{% block a %}{{ self.a() }}{% endblock %}`:       "block is not taken",
		`{% include "configuration" %}`:                   "takes nothing from other files",
		`{% extends "configuration" %}`:                   "takes nothing from other files",
		`{% import "configuration" as c %}`:               "takes nothing from other files",
		`{% from "configuration" import c %}`:             "takes nothing from other files",
		`{{ "a" | center(10000000000) }}`:                 "nothing wider than 1000",
		`{{ "a" | center(width=10000000000) }}`:           "nothing wider than 1000",
		`{{ "a" | indent(10000000000, true) }}`:           "nothing wider than 1000",
		`{{ "a" | tojson(indent=10000000000) }}`:          "nothing wider than 1000",
		`{{ "a" | json_encode(indent=10000000000) }}`:     "nothing wider than 1000",
	} {
		if _, err := Render("a.yaml", []byte(text), Variables{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTemplatesMakeLittle: neither a value nor what all of them come to outgrows a
// configuration, by whatever it is made, and the error names line and expression.
func TestTemplatesMakeLittle(t *testing.T) {
	doubled := `{% set a = "0123456789" %}` + strings.Repeat("{% set a = a OP a %}", 40) + "{{ a }}"
	long := `{% set a = "a" * 100000 %}`
	for text, want := range map[string]string{
		`x` + "\n" + `{{ "a" * 1000000000000 }}`:                                                                                 `f:2: in {{ "a" * 1000000000000 }}: a value has more than 131072 characters`,
		`{{ 1000000000000 * "a" }}`:                                                                                              "",
		`{% if "a" * 1000000000000 %}{% endif %}`:                                                                                `f:1: in {% if "a" * 1000000000000 %}: a value has more than`,
		`{% if false %}{% elif "a" * 1000000000000 %}{% endif %}`:                                                                "a value has more than",
		`{% set a = "a" * 1000000000000 %}`:                                                                                      `f:1: in {% set a = "a" * 1000000000000 %}: a value has more than`,
		`{{ ("a" * 1000 * 1000 * 1000) | length }}`:                                                                              "a value has more than",
		`{{ get_env(name="a" * 1000000000000, default="b") }}`:                                                                   "a value has more than",
		`{{ [("a" * 1000000000000)] | first }}`:                                                                                  "a value has more than",
		`{{ "a" if "a" * 1000000000000 else "b" }}`:                                                                              "a value has more than",
		strings.ReplaceAll(doubled, "OP", "~"):                                                                                   `in {% set a = a ~ a %}: a value has more than`,
		strings.ReplaceAll(doubled, "OP", "+"):                                                                                   `in {% set a = a + a %}: a value has more than`,
		strings.ReplaceAll(strings.ReplaceAll(doubled, "OP", "+"), `"0123456789"`, "[1]"):                                        "a value has more than",
		`{% set a = "a" %}` + strings.Repeat("{% set a = [a, a] %}", 20) + "{{ a }}":                                             "a value has more than",
		`{% set a = "a" %}` + strings.Repeat("{% set a = [a, a] %}", 20) + "{{ a | join }}":                                      "a value has more than",
		`{% set a = 1 %}` + strings.Repeat("{% set a = [a] %}", 60) + "{{ a }}":                                                  "a value is nested too deep",
		long + `{{ a | replace(from="a", to=a) }}`:                                                                               "a value has more than",
		long + `{{ a | list | join(sep=a) }}`:                                                                                    "a value has more than",
		long + strings.Repeat("{{ a }}", 50):                                                                                     "all that is filled in has more than 4194304 characters",
		long + `{% set b %}` + strings.Repeat("{{ a }}", 50) + `{% endset %}`:                                                    "all that is filled in has more than",
		long + `{% for i in a %}{% for j in a %}{% endfor %}{% endfor %}`:                                                        "all that is filled in has more than",
		long + `{% for i in a %}{% for j in a %}{% endfor %}{% endfor %}x`:                                                       "in {% for",
		`{% set a %}{% for i in "` + strings.Repeat("x", 3000) + `" %}` + strings.Repeat("y", 3000) + `{% endfor %}{% endset %}`: "all that is filled in has more than",
		`{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}`:                                                                "a loop cannot call itself",
		`{{ "%100000000d" | format(1) }}`:                                                                                        "nothing wider than 1000",
		`{{ "%*d" | format(100000000, 1) }}`:                                                                                     "nothing wider than 1000",
		`{{ [1] | slice(10000000000) }}`:                                                                                         "nothing wider than 1000",
		`{{ [1] | batch(10000000000, 1) }}`:                                                                                      "nothing wider than 1000",
		`{{ "a".ljust(10000000000) }}`:                                                                                           "unknown method",
		`{{ "a".center(10000000000) }}`:                                                                                          "unknown method",
		`{{ "a".upper() }}{{ 2 * 3 + 4 }}{{ ([1] + [2]) | length }}{{ "a" * 3 ~ "b" }}{% for i in "abc" %}{{ loop.index }}{% endfor %}`:        "",
		`{{ key | default("a") * 3 }}{{ (nope | default("b")) ~ "c" }}{% if nope is defined %}{% endif %}{% if key ~ "x" == "x" %}{% endif %}`: "",
	} {
		out, err := Render("f", []byte(text), Variables{Key: "k"})
		shown := text[:min(len(text), 90)]
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", shown, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			said := string(out.Text)
			if err != nil {
				said = err.Error()
			}
			t.Errorf("%s:\n got %s\nwant %s", shown, said[:min(len(said), 200)], want)
		}
	}
}
