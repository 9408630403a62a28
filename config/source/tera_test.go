package source

import (
	"strings"
	"testing"
	"time"
)

// TestTera: what Tera has and Jinja has not.
func TestTera(t *testing.T) {
	v := variables()
	v.Now = func() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.FixedZone("", 3600)) }
	for in, want := range map[string]string{
		`{{ "a/b/c" | split(pat="/") | nth(n=1) }}`:                       "b",
		`{{ {"a": 1} | get(key="a") }}{{ {} | get(key="b", default=2) }}`: "12",
		`{{ "it's \"x\"" | addslashes }}`:                                 `it\'s \"x\"`,
		`{{ [1] | concat(with=[2, 3]) | join(sep=",") }}`:                 "1,2,3",
		`{{ [1] | concat(with=2) | length }}`:                             "2",
		`{{ [1, 2, 3, 4] | slice(start=1, end=-1) | join(sep=",") }}`:     "2,3",
		`{{ 1 }} pod{{ 1 | pluralize }}, {{ 2 }} pod{{ 2 | pluralize }}`:  "1 pod, 2 pods",
		`{{ now() }}`: "2026-01-02T15:04:05+01:00",
		`{{ now(utc=true) | date(format="%Y%m%d-%H:%M:%S %j %a%%") }}`:                       "20260102-14:04:05 002 Fri%",
		`{{ now(timestamp=true) | date }}`:                                                   "2026-01-02",
		`{{ "2025-12-31" | date(format="%d.%m.%y") }}`:                                       "31.12.25",
		`{% for i in range(end=3) %}{{ i }}{% endfor %}`:                                     "012",
		`{% for i in range(start=1, end=6, step_by=2) %}{{ i }}{% endfor %}`:                 "135",
		`{% if git_branch is starting_with("fix/") %}a{% else %}b{% endif %}`:                "a",
		`{% if git_branch is ending_with("fix/") %}a{% else %}b{% endif %}`:                  "b",
		`{% if git_branch is containing("Big") %}a{% else %}b{% endif %}`:                    "a",
		`{% if ["x"] is containing("x") %}a{% else %}b{% endif %}`:                           "a",
		`{% if git_branch is matching("^fix/.*$") %}a{% else %}b{% endif %}`:                 "a",
		`{% if git_branch is not starting_with("fix") %}a{% else %}b{% endif %}`:             "b",
		`{% if {"a": 1} is object %}a{% endif %}{% if nope is defined %}b{% endif %}`:        "a",
		`{% if key is defined and key is string %}a{% endif %}{% if 3 is odd %}b{% endif %}`: "ab",
	} {
		got, err := Render("f", []byte(in), v)
		if err != nil || string(got.Text) != want {
			t.Errorf("%s:\n got %v, %v\nwant %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"\n{{ [1] | nth(n=1) }}":                       `f:2: in {{ [1] | nth(n=1) }}: there is no element 1`,
		"\n{{ 'x' | date }}":                           `f:2: in {{ "x" | date }}`,
		"\n{{ throw(message='no branch') }}":           `f:2: in {{ throw(message='no branch') }}: no branch`,
		"{{ range(end=1000000000) | length }}":         `f:1: in {{ range(end=1000000000) | length }}: a value has more than`,
		"{{ key | slugfy }}":                           `f:1: in {{ key | slugfy }}: there is no filter "slugfy": did you mean slugify?`,
		"{% if key is startng_with('a') %}{% endif %}": `there is no test "startng_with": did you mean starting_with?`,
		"{{ get_evn(name='A') }}":                      `there is no function get_evn: did you mean get_env?`,
		"{{ key | entirely_other }}":                   `there is no filter "entirely_other"`,
	} {
		_, err := Render("f", []byte(in), v)
		if in == "\n{{ 'x' | date }}" {
			want = `f:2: in {{ 'x' | date }}: "x" is no time`
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", in, err, want)
		}
	}
}
