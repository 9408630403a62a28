package migrate

import (
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// tomlDocument keeps every byte that is not changed. The library writes no
// comments, but says where each key stands.
type tomlDocument struct {
	text string
	// headless: the first key is no more the one that the file began with.
	headless bool
}

// tomlEntry is a key with its value, or the head of a table.
type tomlEntry struct {
	path []string
	// head: it is a table's, with no value.
	head bool
	// inline: it is inside another one's value.
	inline bool
	// from the key's first byte; the value's bounds, or the key's own end.
	from, value, end int
}

func (e *tomlEntry) below(path []string) bool {
	return len(e.path) >= len(path) && slices.Equal(e.path[:len(path)], path)
}

// entries are all, from top to bottom, and the comments.
func (d *tomlDocument) entries() (entries []tomlEntry, comments []string) {
	parser := unstable.Parser{KeepComments: true}
	parser.Reset([]byte(d.text))
	var section []string
	var look func(node *unstable.Node, above []string, inline bool)
	look = func(node *unstable.Node, above []string, inline bool) {
		for ; node != nil; node = node.Next() {
			path, nested := above, inline
			switch node.Kind {
			case unstable.Comment:
				comments = append(comments, string(node.Data))
			case unstable.Table, unstable.ArrayTable, unstable.KeyValue:
				entry := tomlEntry{path: slices.Clone(above), head: node.Kind != unstable.KeyValue, inline: inline, from: -1}
				if entry.head {
					entry.path = nil
				}
				for keys := node.Key(); keys.Next(); {
					key := keys.Node()
					if entry.from < 0 {
						entry.from = int(key.Raw.Offset)
					}
					entry.path = append(entry.path, string(key.Data))
					entry.end = int(key.Raw.Offset + key.Raw.Length)
				}
				if path = entry.path; entry.head {
					section = path
				} else {
					entry.value = entry.end + strings.IndexByte(d.text[entry.end:], '=') + 1
					entry.value += len(d.text[entry.value:]) - len(strings.TrimLeft(d.text[entry.value:], " \t"))
					entry.end = tomlValueEnd(d.text, entry.value)
				}
				entries, nested = append(entries, entry), true
			}
			look(node.Child(), path, nested)
		}
	}
	for parser.NextExpression() {
		look(parser.Expression(), section, false)
	}
	return entries, comments
}

// tomlValueEnd is where a value ends that begins there.
func tomlValueEnd(text string, at int) int {
	depth, end := 0, at
	for at < len(text) {
		rest := text[at:]
		switch c := rest[0]; {
		case strings.HasPrefix(rest, `"""`), strings.HasPrefix(rest, `'''`):
			at += tomlStringEnd(rest, rest[:3])
		case c == '"' || c == '\'':
			at += tomlStringEnd(rest, rest[:1])
		case depth == 0 && strings.IndexByte("\n#,]}", c) >= 0:
			return end
		case c == '#':
			at += strings.IndexByte(rest+"\n", '\n')
			continue
		case c == '[' || c == '{':
			depth++
			at++
		case c == ']' || c == '}':
			depth--
			at++
		case c == ' ' || c == '\t' || c == '\r':
			at++
			continue // it is no end
		default:
			at++
		}
		end = at
	}
	return end
}

// tomlStringEnd is how long a string is that begins with these quotes.
func tomlStringEnd(text, quotes string) int {
	for at := len(quotes); at < len(text); at++ {
		switch {
		case text[at] == '\\' && quotes[0] == '"':
			at++
		case strings.HasPrefix(text[at:], quotes):
			at += len(quotes)
			for len(quotes) == 3 && at < len(text) && text[at] == quotes[0] {
				at++ // up to two of them are the string's own
			}
			return at
		}
	}
	return len(text)
}

func (d *tomlDocument) set(path []string, value any) {
	entries, _ := d.entries()
	for _, entry := range entries {
		if !entry.head && slices.Equal(entry.path, path) {
			d.text = d.text[:entry.value] + tomlValue(value) + d.text[entry.end:]
			return
		}
	}
	if object, ok := value.(pairs); ok && d.setInside(path, object) {
		return
	}
	// It was a table, or is new: it goes to the end of the keys that stand before
	// all tables.
	lost := d.removed(path)
	entries, _ = d.entries()
	at := 0
	for _, entry := range entries {
		if entry.head {
			if at == 0 {
				at = d.ownLines(entry.from)
			}
			break
		}
		if !entry.inline {
			at = d.lineEnd(entry.end)
		}
	}
	if len(entries) == 0 {
		at = len(d.text)
	}
	d.add(at, path, value, lost)
}

// add writes a key into a line of its own, below comments.
func (d *tomlDocument) add(at int, path []string, value any, comments []string) {
	line := ""
	for _, comment := range comments {
		line += comment + "\n"
	}
	line += strings.Join(path, ".") + " = " + tomlValue(value) + "\n"
	if at > 0 && d.text[at-1] != '\n' {
		line = "\n" + line
	}
	d.text = d.text[:at] + line + d.text[at:]
}

// setInside gives a table that has a head of its own these keys and no others, where
// it stands, and says whether there is one.
func (d *tomlDocument) setInside(path []string, object pairs) bool {
	isHead := func(e tomlEntry) bool { return e.head && slices.Equal(e.path, path) }
	if entries, _ := d.entries(); !slices.ContainsFunc(entries, isHead) {
		return false
	}
	stays := func(key []string) bool {
		return slices.ContainsFunc(object, func(pair [2]string) bool { return pair[0] == key[0] })
	}
	var lost []string
	for again := true; again; {
		again = false
		entries, _ := d.entries()
		for _, entry := range entries {
			if !entry.below(path) || len(entry.path) == len(path) {
				continue
			}
			key := entry.path[len(path):]
			if len(key) == 1 && !entry.head && stays(key) {
				continue
			}
			if !entry.inline || !stays(key) {
				lost = append(lost, d.removed(entry.path[:len(path)+1])...)
				again = true
				break
			}
		}
	}
	for _, pair := range object {
		d.setIn(append(slices.Clone(path), pair[0]), pair[1], &lost)
	}
	return true
}

// setIn gives a key of a table with a head its value. A new one goes to the end of
// the table, below comments that are then no more to be placed.
func (d *tomlDocument) setIn(path []string, value any, comments *[]string) {
	entries, _ := d.entries()
	at, table := 0, path[:len(path)-1]
	for _, entry := range entries {
		switch {
		case entry.head && slices.Equal(entry.path, table):
			at = d.lineEnd(entry.end)
		case entry.inline || len(entry.path) != len(path) || !entry.below(table):
		case slices.Equal(entry.path, path):
			if text := tomlValue(value); !sameText(d.text[entry.value:entry.end], value) {
				d.text = d.text[:entry.value] + text + d.text[entry.end:]
			}
			return
		default:
			at = d.lineEnd(entry.end)
		}
	}
	d.add(at, path[len(path)-1:], value, *comments)
	*comments = nil
}

// sameText says whether a string is written there already, in whichever quotes.
func sameText(written string, value any) bool {
	text, ok := value.(string)
	return ok && (written == quote(text) || written == "'"+text+"'")
}

// removed takes out a key, and gives the comments that went with it.
func (d *tomlDocument) removed(path []string) []string {
	lost := d.comments()
	d.remove(path)
	for _, kept := range d.comments() {
		if i := slices.Index(lost, kept); i >= 0 {
			lost = slices.Delete(lost, i, i+1)
		}
	}
	return lost
}

// remove takes out a key, all that is below it, and the comments that are its
// own: in its line, and in the lines right above it.
func (d *tomlDocument) remove(path []string) {
	entries, _ := d.entries()
	whole := len(d.text) + 1
	for i := len(entries) - 1; i >= 0; i-- {
		entry := entries[i]
		if !entry.below(path) || entry.from >= whole {
			continue
		}
		outer := slices.ContainsFunc(entries[:i], func(e tomlEntry) bool { return !e.head && e.below(path) && e.from < entry.from && entry.from < e.end })
		if outer {
			continue // it goes with the one that it is in
		}
		whole = entry.from
		if entry.inline {
			d.removeInline(entry)
			continue
		}
		from, to := d.ownLines(entry.from), d.lineEnd(entry.end)
		if !d.headless && strings.TrimSpace(d.text[:from]) == "" {
			d.headless = true
			own := strings.LastIndexByte(d.text[:entry.from], '\n') + 1
			if from < own && !strings.HasPrefix(d.text[to:], "\n") && to < len(d.text) {
				d.text = d.text[:own] + "\n" + d.text[own:] // it is not the next one's own
				own, to = own+1, to+1
			}
			from = own
		}
		if before := d.text[:from]; (before == "" || strings.HasSuffix(before, "\n\n")) && strings.HasPrefix(d.text[to:], "\n") {
			to++ // one blank line is enough
		} else if strings.HasSuffix(before, "\n\n") && to == len(d.text) {
			from--
		}
		d.text = d.text[:from] + d.text[to:]
	}
}

// removeInline takes a key out of an object that is written on one line.
func (d *tomlDocument) removeInline(entry tomlEntry) {
	before, after := strings.TrimRight(d.text[:entry.from], " \t"), strings.TrimLeft(d.text[entry.end:], " \t")
	switch {
	case strings.HasPrefix(after, ","):
		d.text = d.text[:entry.from] + strings.TrimLeft(after[1:], " \t")
	case strings.HasSuffix(before, ","):
		d.text = before[:len(before)-1] + d.text[entry.end:]
	default:
		d.text = before + after
	}
}

// lineEnd is behind the end of the line that a place is in.
func (d *tomlDocument) lineEnd(at int) int {
	if end := strings.IndexByte(d.text[at:], '\n'); end >= 0 {
		return at + end + 1
	}
	return len(d.text)
}

// ownLines is where the lines begin that belong to the key at a place: its own,
// and the comments right above.
func (d *tomlDocument) ownLines(at int) int {
	start := strings.LastIndexByte(d.text[:at], '\n') + 1
	for start > 0 {
		above := strings.LastIndexByte(d.text[:start-1], '\n') + 1
		if !strings.HasPrefix(strings.TrimLeft(d.text[above:start], " \t"), "#") {
			break
		}
		start = above
	}
	return start
}

func (d *tomlDocument) empty(path []string) bool {
	entries, _ := d.entries()
	there := false
	for _, entry := range entries {
		switch {
		case !entry.below(path):
		case len(entry.path) > len(path):
			return false
		case entry.head, strings.HasPrefix(d.text[entry.value:entry.end], "{"):
			there = true
		}
	}
	return there
}

func (d *tomlDocument) comments() []string {
	_, comments := d.entries()
	return comments
}

func (d *tomlDocument) bytes() ([]byte, error) { return []byte(d.text), nil }

// tomlValue writes a value on one line.
func tomlValue(value any) string {
	switch value := value.(type) {
	case string:
		return quote(value)
	case []string:
		var items []string
		for _, item := range value {
			items = append(items, quote(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case pairs:
		var items []string
		for _, pair := range value {
			items = append(items, pair[0]+" = "+quote(pair[1]))
		}
		return "{ " + strings.Join(items, ", ") + " }"
	}
	return "true"
}
