package source

import "testing"

// FuzzParse: no text of any format makes the parser fail in another way than by
// an error.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"{}", `{"a": [1, 2.5, null, "x"], // c` + "\n}", "a: &x {b: 1}\nc: {<<: *x}\n", "a = 1\n[b.c]\nd = [{e = 1}]\n", "a: *x", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, format := range []Format{JSON, YAML, TOML} {
			if root, err := Parse("f", format, []byte(text)); err == nil {
				root.Plain()
			}
		}
	})
}

// FuzzRender: a template fills in or is an error, and every line has a place.
func FuzzRender(f *testing.F) {
	for _, text := range []string{"{{ key }}", "{% if key %}\na\n{% endif %}", "{{", "{% for x in 'ab' %}{{ x }}\n{% endfor %}", "{# a", "{{ key | default(value=1) }}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			return // a loop within a loop takes long, and is nobody's file
		}
		rendered, err := Render("f", []byte(text), Variables{Key: "k", Env: func(string) (string, bool) { return "", false }})
		if err == nil && rendered.Line(1) < 0 {
			t.Error("a line before the first")
		}
	})
}
