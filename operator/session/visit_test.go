package session

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCut(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		most int
		want string
	}{
		"short":                  {"pods", 4, "pods"},
		"long":                   {"pods of it", 8, "pods …"},
		"in a character":         {"aäöü", 6, "aä…"},
		"between two characters": {"aaäöü", 7, "aaä…"},
	} {
		got := cut(c.text, c.most)
		if got != c.want || len(got) > c.most || !utf8.ValidString(got) {
			t.Errorf("%s: got %q (%d bytes), want %q in %d", name, got, len(got), c.want, c.most)
		}
	}
}

func TestNamed(t *testing.T) {
	names := strings.Split(strings.Repeat("pod ", 1000), " ")[:1000]
	if got := named(names, ", "); !strings.HasSuffix(got, "pod, and 990 more") {
		t.Errorf("got %q", got)
	}
	if got := named(names[:3], ", "); got != "pod, pod, pod" {
		t.Errorf("got %q", got)
	}
}
