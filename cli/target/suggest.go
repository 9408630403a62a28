package target

import (
	"slices"
	"strings"

	"understudy.dev/understudy/config/decision"
)

// near are the names that somebody may have meant by name, the likeliest
// first, at most three.
func near(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	for _, n := range names {
		d := decision.Distance(name, n)
		switch {
		case strings.Contains(n, name) || strings.Contains(name, n):
			d = min(d, 1)
		case d > max(2, len(name)/3), 2*d > len(name) && d > 1: // of "foo" too little is "job"
			continue
		}
		found = append(found, candidate{n, d})
	}
	slices.SortFunc(found, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	var out []string
	for _, c := range found[:min(3, len(found))] {
		out = append(out, c.name)
	}
	return out
}

// list is a readable enumeration: "a", "a or b", "a, b or c".
func list(names []string, last string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " " + last + " " + names[len(names)-1]
}
