package output

import (
	"strings"
	"testing"

	"understudy.dev/understudy/cli/failure"
)

// TestDocument: one thing in each form, with the names that programs know.
func TestDocument(t *testing.T) {
	value := struct {
		Kind string   `json:"kind"`
		None string   `json:"none,omitempty"`
		Of   []string `json:"of"`
	}{Kind: "Versions", Of: []string{"<client>"}}
	for form, want := range map[string]string{
		"json": "{\n  \"kind\": \"Versions\",\n  \"of\": [\n    \"\\u003cclient\\u003e\"\n  ]\n}\n",
		"yaml": "kind: Versions\nof:\n- <client>\n",
	} {
		var d Document
		var out strings.Builder
		if err := d.Set(form); err != nil || d.People() {
			t.Errorf("%s: %v, for people: %v", form, err, d.People())
		}
		if err := d.Print(&out, value); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v; want %q", form, out.String(), err, want)
		}
	}
	var d Document
	if err := d.Set("xml"); failure.Hint(err) != "there are table|json|yaml" || !d.People() {
		t.Errorf("xml: %v (%s)", err, failure.Hint(err))
	}
}
