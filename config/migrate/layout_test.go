package migrate

import "testing"

// TestLayout: of a YAML file only what is changed looks otherwise.
func TestLayout(t *testing.T) {
	for name, tc := range map[string][2]string{
		"four spaces and empty lines": {
			"# ours\n\ntarget:\n    path: 'deployment/w'\n    namespace: \"shop\"\n\n# loud\ntelemetry: false\n\nfeature:\n    env:\n        override:\n            A: 'x'\n\n        exclude:\n            - B\n",
			"# ours\n\ntarget:\n    path: 'deployment/w'\n    namespace: \"shop\"\n\nfeature:\n    env:\n        override:\n            A: 'x'\n\n        exclude:\n            - B\n",
		},
		"lists in the column of their key": {
			"telemetry: false\nfeature:\n  env:\n    exclude:\n    - A\n    - B\n",
			"feature:\n  env:\n    exclude:\n    - A\n    - B\n",
		},
		"a text of several lines": {
			"telemetry: false\n\nfeature:\n  env:\n    override:\n      A: |\n        x\n\n        y\n",
			"feature:\n  env:\n    override:\n      A: |\n        x\n\n        y\n",
		},
	} {
		first, err := File("a.yaml", []byte(tc[0]))
		if err != nil || string(first.Text) != tc[1] {
			t.Errorf("%s: %v\n got %q\nwant %q", name, err, first.Text, tc[1])
			continue
		}
		if second, err := File("a.yaml", first.Text); err != nil || string(second.Text) != tc[1] || len(second.Changes) > 0 {
			t.Errorf("%s, a second time: %v, %q", name, err, second.Changes)
		}
	}
}
