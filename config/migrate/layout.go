package migrate

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// layout is how a YAML file is set, as far as the library can set one: it writes all
// spaces anew.
type layout struct {
	indent int
	// compact: the items of a list begin in the column of their key.
	compact bool
	// spaced are the lines that come after an empty one, in order.
	spaced []string
}

func layoutOf(root *yaml.Node, text string) layout {
	l := layout{indent: 2}
	first, several := 0, false
	compact, indented := 0, 0
	var look func(n *yaml.Node)
	look = func(n *yaml.Node) {
		several = several || n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "\n")
		for i := 1; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
			key, value := n.Content[i-1], n.Content[i]
			switch deeper := value.Column - key.Column; {
			case value.Style&yaml.FlowStyle != 0, value.Line == key.Line:
			case value.Kind == yaml.MappingNode && first == 0:
				first = deeper
			case value.Kind == yaml.SequenceNode && deeper == 0:
				compact++
			case value.Kind == yaml.SequenceNode:
				indented++
			}
		}
		for _, below := range n.Content {
			look(below)
		}
	}
	look(root)
	if first > 1 && first < 10 {
		l.indent = first
	}
	l.compact = compact > indented
	if several {
		return l // an empty line may belong to a text
	}
	lines := strings.Split(text, "\n")
	for i := 1; i < len(lines); i++ {
		if strings.TrimSpace(lines[i-1]) == "" && strings.TrimSpace(lines[i]) != "" {
			l.spaced = append(l.spaced, strings.TrimRight(lines[i], " \r"))
		}
	}
	return l
}

// space puts empty lines back before those that are still there.
func (l *layout) space(text string) string {
	var out []string
	spaced := l.spaced
	for i, line := range strings.Split(text, "\n") {
		if at := slices.Index(spaced, line); at >= 0 {
			spaced = spaced[at+1:]
			if i > 0 && out[len(out)-1] != "" {
				out = append(out, "")
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}
