// Package decision is the one table of everything that somebody may have
// written to configure a session: every key of a file, every variable and
// every flag, understudy's own and those of the tool that people come from,
// and what becomes of each here.
//
// The documentation is made of it, the reading of files asks it, and a test
// holds it against the lists of what the other tool ever took.
package decision

import (
	"slices"
	"strings"
)

// Verdict is what becomes of something that was written.
type Verdict string

// The verdicts.
const (
	// Supported: it has the same meaning here, as far as Text says.
	Supported Verdict = "supported"
	// Mapped: To says the same here.
	Mapped Verdict = "mapped"
	// Meaningless: accepted with a notice, since Text makes it needless here.
	Meaningless Verdict = "no meaning here"
	// Refused: an error, because of Text; Do says what to do instead.
	Refused Verdict = "refused"
)

// Row is one decision.
type Row struct {
	// Name is the key with its sections ("feature.env.include"), the variable
	// ("MIRRORD_PAUSE") or the flag without its dashes ("fs-mode"). A key
	// without meaning, or refused, stands for all keys below it too.
	Name    string
	Verdict Verdict
	// Text is what it does here, in what it differs, or why it is not taken.
	Text string
	// Do is what to do instead, for what is refused.
	Do string
	// To is the key that has the meaning, of a variable, a flag and what is
	// mapped; several where one switch means several keys.
	To []string
	// Own: understudy's own, unknown to the other tool.
	Own bool
	// Neutral are the values at which nothing is asked for, so that nothing
	// need be said.
	Neutral []string
	// Idle are names below a key that is refused which ask for nothing by themselves.
	Idle []string
	// Short is a flag's one letter.
	Short string
	// Group is what a flag is about, in the help.
	Group string
	// Switch is a flag without an argument.
	Switch bool
	// Value is what To is set to when the switch is given: "true" unless it
	// says otherwise.
	Value string
}

// Switched is what To is set to by a switch with a Value that is given as true
// or as false; empty where false asks for nothing, as a mode has no opposite.
func (r *Row) Switched(on bool) string {
	switch {
	case on:
		return r.Value
	case r.Value == "false":
		return "true"
	case r.Value == "true":
		return "false"
	}
	return ""
}

// Quiet says whether a value asks for nothing.
func (r *Row) Quiet(value string) bool { return slices.Contains(r.Neutral, value) }

// Key finds the decision on a key: its own, or that of a section above it which
// is decided as a whole, or of the list that it is in. Names of map entries and list items are written as in
// "db_branches[].name" and "split_queues.<key>.queue_type". Nil where the key
// is unknown.
func Key(key string) *Row {
	for at := key; at != ""; at = parent(at) {
		i := slices.IndexFunc(Keys, func(r Row) bool { return r.Name == at })
		if i >= 0 && (at == key || strings.HasPrefix(key, at+"[]") || Keys[i].Verdict == Refused || Keys[i].Verdict == Meaningless) {
			return &Keys[i]
		}
	}
	return nil
}

func parent(key string) string {
	if above, ok := strings.CutSuffix(key, "[]"); ok {
		return above
	}
	return key[:max(strings.LastIndex(key, "."), 0)]
}

// Section says whether there are keys below a key.
func Section(key string) bool {
	return slices.ContainsFunc(Keys, func(r Row) bool { return strings.HasPrefix(r.Name, key+".") })
}

// Near is the known key that somebody may have meant by one that is unknown;
// empty where none is like it. One in the same section is likelier than one in
// another, and one that does something here than one that does not.
func Near(key string) string {
	section, name := split(key)
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	best, least := "", 3*(1+max(1, len(name)/3))
	var candidates, sections, others []string
	for _, row := range Keys {
		if row.Verdict == Refused || row.Verdict == Meaningless {
			others = append(others, row.Name)
			continue
		}
		candidates = append(candidates, row.Name)
		for above := parent(row.Name); above != "" && !slices.Contains(sections, above); above = parent(above) {
			sections = append(sections, above)
		}
	}
	for _, below := range Below(section) { // of a section that is decided as a whole
		others = append(others, section+"."+below)
	}
	for i, candidate := range slices.Concat(candidates, sections, others) {
		above, last := split(candidate)
		d := 3 * Distance(name, last)
		if i >= len(candidates)+len(sections) {
			d++
		}
		switch {
		case above == section:
		case strings.HasPrefix(section+".", above+"."), strings.HasPrefix(above+".", section+"."):
			d++ // on the way up or down
		default:
			d += 2
		}
		if d < least {
			best, least = candidate, d
		}
	}
	return best
}

func split(key string) (section, name string) {
	section = parent(key)
	return section, strings.TrimPrefix(strings.TrimPrefix(key, section), ".")
}

// Distance is how many letters must be put in, taken out or replaced to make b
// of a.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
