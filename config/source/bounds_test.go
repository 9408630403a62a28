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
