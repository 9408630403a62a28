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
		"x\n{{ key | nope }}":                           `f:2: in {{ key | nope }}: filter "nope" not found`,
		"x\n{% if key":                                  `f:2: in {% if key: there is no %} that ends it`,
		"x\n\"{{ key | \"\ny":                           `f:2: in {{ key | ": there is no }} that ends it`,
		"x\n{% if key %}\n1\n":                          `f:2: in {% if key %}: there is no {% endif %} that ends it`,
		"{% if key %}{% for a in key %}1\n{% endfor %}": `f:1: in {% if key %}: there is no {% endif %} that ends it`,
		"\n\"{{ get_env(name=\\\"A\\\") }}\"":           `f:2: in {{ get_env(name=\"A\") }}: quotes are not escaped in a template: write "..." or '...', without a backslash`,
		"x\n{% if nope %}1{% endif %}":                  `f:2: in {% if nope %}: there is no variable "nope"`,
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
