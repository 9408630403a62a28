package tunnel

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A container's variables hold any bytes, as do those of its owner's process.
func TestWelcomeKeepsEveryByte(t *testing.T) {
	want := Welcome{Hostname: "worker-0", Environment: []string{"A=ä", "LAST=1", "LATIN=\xe4", "\xff=\xfe"}}
	content, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Welcome
	if err := json.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Environment, got.Environment); diff != "" {
		t.Errorf("the environment has changed (-sent +arrived):\n%s", diff)
	}
}
