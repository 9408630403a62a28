//go:build linux

package netstack

import (
	"testing"
	"time"
)

// A flow that has all its answers from a name server soon makes room; others
// live as long as the kernel would let them.
func TestPatienceWithFlows(t *testing.T) {
	const question, answer = false, true
	for _, test := range []struct {
		name  string
		names bool
		seen  []bool
		want  time.Duration
	}{
		{"nothing answered", false, []bool{question, question}, udpUnanswered},
		{"answered", false, []bool{question, answer}, udpAnswered},
		{"a name, not answered", true, []bool{question}, udpUnanswered},
		{"two names, one answered", true, []bool{question, question, answer}, udpNameAnswered},
		{"all names answered", true, []bool{question, question, answer, answer}, udpNameDone},
		{"one more name", true, []bool{question, answer, question}, udpNameAnswered},
	} {
		p := flowPatience{names: test.names}
		var got time.Duration
		for _, seen := range test.seen {
			got = p.after(seen)
		}
		if got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
