package migrate

import "testing"

// FuzzFile: whatever is rewritten can be read again, and has nothing more to
// change.
func FuzzFile(f *testing.F) {
	for _, text := range []string{
		`{"pause": true, "agent": {"ttl": 1}}`, `{"target": {"deployment": "a", "container": "b"}}`, "agent:\n  pause: true\n", "# c\npause: true # d\ntelemetry: x\n",
		"pause = true\n[agent]\nttl = 1\n", `{"feature": {"env": {"include": "a;b"}}, "key": "{{ x }}"}`, `{"agent": {}}`, "{\n// c\n\"telemetry\": 1, // d\n}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range []string{"f.json", "f.yaml", "f.toml"} {
			first, err := File(name, []byte(text))
			if err != nil {
				continue
			}
			second, err := File(name, first.Text)
			if err != nil {
				t.Errorf("%s: %q became %q: %v", name, text, first.Text, err)
			} else if len(second.Changes) > 0 {
				t.Errorf("%s: %q became %q, and then %q", name, text, first.Text, second.Changes)
			}
		}
	})
}
