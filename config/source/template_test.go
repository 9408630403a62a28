package source

import (
	"errors"
	"testing"
)

var env = map[string]string{"USER": "ada", "EMPTY": ""}

func variables() Variables {
	return Variables{Key: "k-1", Branch: "fix/Big Thing", Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
}

func TestRender(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": {"b": 1}}`: `{"a": {"b": 1}}`,
		`{"t": "{{ get_env(name="USER", default="x") }}"}`:              `{"t": "ada"}`,
		`{{get_env(name='PWD_', default='d')}}`:                         `d`,
		`{{ get_env(name="EMPTY", default="d") }}`:                      ``,
		`{{ get_env("USER_", "d") }}{{ get_env("USER", more="x") }}`:    `dada`,
		`{{ key }}-{{key}}`:                                             `k-1-k-1`,
		`{{ git_branch | slugify }}`:                                    `fix-big-thing`,
		`{{ git_branch | upper | replace(from="/", to="_") }}`:          `FIX_BIG THING`,
		`{{ git_branch | replace("/", "_") | lower }}`:                  `fix_big thing`,
		`{{ nothing | default(value="d") }}`:                            `d`,
		`{{ nothing | default('d') }}`:                                  `d`,
		`{% if get_env(name="USER") == "ada" %}a{% else %}b{% endif %}`: `a`,
		`{# gone #}a`:                  `a`,
		`{% raw %}{{ {% {% endraw %}a`: `{{ {% a`,
		`{% if key %}{% if nothing is defined %}b{% endif %}a{% endif %}`: `a`,
		`{{ git_branch | split(pat="/") | first }}`:                       `fix`,
		`{{ key | trim_start_matches(pat="k-") }}`:                        `1`,
		`{% set n = "x" %}{{ n ~ key | json_encode }}`:                    `x"k-1"`,
	} {
		got, err := Render("f", []byte(in), variables())
		if err != nil || string(got.Text) != want {
			t.Errorf("%s:\n got %v, %v\nwant %s", in, got, err, want)
		}
	}
}

func TestRenderKeepsLines(t *testing.T) {
	text := "one\n{% if key == 'other' %}\ntwo\nthree\n{% endif %}\nfour {{ key\n  | upper }} x\nfive\n"
	got, err := Render("f", []byte(text), variables())
	if err != nil {
		t.Fatal(err)
	}
	if want := "one\n\nfour K-1 x\nfive\n"; string(got.Text) != want {
		t.Fatalf("got %q", got.Text)
	}
	for line, want := range map[int]int{1: 1, 3: 6, 4: 8, 99: 99} {
		if was := got.Line(line); was != want {
			t.Errorf("line %d came from %d, want %d", line, was, want)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	for in, want := range map[string]string{
		"a\n\"{{ nope }}\"":                             `f:2: in {{ nope }}: there is no variable "nope"`,
		"a\n{{ key }} {{ nope.x }}":                     `f:2: in {{ nope.x }}: there is no variable "nope"`,
		"\n\n{{ get_env(name='NOPE') }}":                `f:3: in {{ get_env(name='NOPE') }}: the environment variable NOPE is not set, and get_env was given no default`,
		"{{ get_env() }}":                               `f:1: in {{ get_env() }}: get_env needs a name, as in get_env(name="USER", default="nobody")`,
		"x\n{{ key | nope }}":                           `f:2: in {{ key | nope }}: there is no filter "nope"`,
		"x\n{% if key":                                  `f:2: in {% if key: there is no %} that ends it`,
		"x\n\"{{ key | \"\ny":                           `f:2: in {{ key | ": there is no }} that ends it`,
		"x\n{% if key %}\n1\n":                          `f:2: in {% if key %}: there is no {% endif %} that ends it`,
		"{% if key %}{% for a in key %}1\n{% endfor %}": `f:1: in {% if key %}: there is no {% endif %} that ends it`,
		"\n\"{{ get_env(name=\\\"A\\\") }}\"":           `f:2: in {{ get_env(name=\"A\") }}: quotes are not escaped in a template: write "..." or '...', without a backslash`,
		"x\n{% if nope %}1{% endif %}":                  `f:2: in {% if nope %}: there is no variable "nope"`,

		// It is the very one that is named, not another in the line, nor the condition
		// or the loop that it stands in.
		"{{ get_env(name='USER') }} {{ get_env(name='A') }}":                   `f:1: in {{ get_env(name='A') }}: the environment variable A is not set, and get_env was given no default`,
		"{{ key }}\n{% if key %}\n{{ nope }}\n{% endif %}":                     `f:3: in {{ nope }}: there is no variable "nope"`,
		"{% if key == 'x' %}\n1\n{% elif nope %}\n2\n{% endif %}":              `f:3: in {% elif nope %}: there is no variable "nope"`,
		"{% if key == 'x' %}\n{{ nope }}\n{% elif key %}\n{{ no }}{% endif %}": `f:4: in {{ no }}: there is no variable "no"`,
		"{% for a in [1, 2] %}\n{{ a }}{{ b }}\n{% endfor %}":                  `f:2: in {{ b }}: there is no variable "b"`,
		"{% raw %}{{ nope }}{% endraw %}\n{# {{ nope }} #}{{ none }}":          `f:2: in {{ none }}: there is no variable "none"`,
		"{% macro m(a) %}\n{{ a | nope }}{% endmacro %}\n{{ m('x') }}":         `f:1: in {% macro m(a) %}: macro is not taken: a template cannot call itself`,
		"a\n{{\n  nope\n}}": `f:2: in {{ nope }}: there is no variable "nope"`,

		// What the library has no line of.
		"x\n{{ 'abc }}\ny":                    `f:2: in {{ 'abc }}: a quote is missing that ends a text`,
		"x\n{% if key == %}1{% endif %}":      `f:2: in {% if key == %}: a value is missing: a name, a number or a text in quotes`,
		"{% if key %}\n{% elif %}{% endif %}": `f:2: in {% elif %}: a value is missing: a name, a number or a text in quotes`,
		"x\n{% for a in %}1{% endfor %}":      `f:2: in {% for a in %}: a value is missing: a name, a number or a text in quotes`,
		"x\n{{ }}":                            `f:2: in {{ }}: a value is missing: a name, a number or a text in quotes`,

		// What the library says in words of its own.
		"x\n{{ key | }}":                         `f:2: in {{ key | }}: the name of a filter is expected after |`,
		"x\n{% nope %}":                          `f:2: in {% nope %}: there is no statement "nope"`,
		"x\n{% else %}":                          `f:2: in {% else %}: nothing is open that it could belong to`,
		"x\n{% if key is nope %}{% endif %}":     `f:2: in {% if key is nope %}: there is no test "nope": did you mean none?`,
		"x\n{{ noww() }}":                        `f:2: in {{ noww() }}: there is no function noww: did you mean now?`,
		"x\n{{ key.x }}":                         `f:2: in {{ key.x }}: attribute "x" not found`,
		"x\n{% include 'a' %}":                   `f:2: in {% include 'a' %}: a template takes nothing from other files`,
		"x\n{{ get_env(name='A', defalt='x') }}": `f:2: in {{ get_env(name='A', defalt='x') }}: the environment variable A is not set, and get_env was given no default, but defalt`,
	} {
		_, err := Render("f", []byte(in), variables())
		var placed *Error
		if !errors.As(err, &placed) || placed.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", in, err, want)
		}
	}
	v := variables()
	v.Branch = ""
	_, err := Render("f", []byte("{{ git_branch }}"), v)
	if err == nil || err.Error() != `f:1: in {{ git_branch }}: there is no variable "git_branch" here: no branch of a git repository is checked out` {
		t.Error(err)
	}
}
