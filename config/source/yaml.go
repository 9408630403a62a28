package source

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlPlace is where the library says that an error is.
var yamlPlace = regexp.MustCompile(`line (\d+): `)

func parseYAML(text []byte) (*Node, error) {
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return &Node{Line: 1}, nil
		}
		said := strings.TrimPrefix(err.Error(), "yaml: ")
		if place := yamlPlace.FindStringSubmatch(said); place != nil {
			line, _ := strconv.Atoi(place[1])
			if at := indentedByTab(text, line); at > 0 {
				return nil, &Error{Line: at, What: "this is no YAML: a tab stands where only spaces may indent"}
			}
			return nil, &Error{Line: line, What: "this is no YAML: " + strings.Replace(said, place[0], "", 1)}
		}
		return nil, &Error{Line: 1, What: "this is no YAML: " + said} // it leaves out the first alone
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, &Error{Line: max(second.Line, 1), What: "a file holds one document, and here begins another"}
	}
	return new(yamlTree).node(&document, 0)
}

// indentedByTab is the first line, up to one in which an error was seen, that has a tab
// before its first character; 0 for none.
func indentedByTab(text []byte, until int) int {
	for i, line := range strings.Split(string(text), "\n") {
		if i < until && strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
			return i + 1
		}
	}
	return 0
}

const (
	// deepest nesting that is followed: an alias may contain itself.
	deepest = 100
	// most values, with what aliases stand for: one of ten aliases of ten aliases, and
	// so on, is soon more than a machine has memory.
	most = 100_000
)

// yamlTree makes values of what the library has read.
type yamlTree struct{ values int }

func (t *yamlTree) node(n *yaml.Node, depth int) (*Node, error) {
	t.values++
	switch {
	case depth > deepest:
		return nil, &Error{Line: n.Line, What: "this is nested too deep"}
	case t.values > most:
		return nil, &Error{Line: n.Line, What: fmt.Sprintf("with what its aliases stand for this file has more than %d values", most)}
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return t.node(n.Content[0], depth+1)
	case yaml.AliasNode:
		return t.node(n.Alias, depth+1)
	case yaml.SequenceNode:
		list := make([]*Node, 0, len(n.Content))
		for _, item := range n.Content {
			node, err := t.node(item, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, node)
		}
		return &Node{Value: list, Line: n.Line}, nil
	case yaml.MappingNode:
		return t.object(n, depth)
	}
	return yamlScalar(n)
}

func (t *yamlTree) object(n *yaml.Node, depth int) (*Node, error) {
	var members, merged []Member
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, content := n.Content[i], n.Content[i+1]
		value, err := t.node(content, depth+1)
		if err != nil {
			return nil, err
		}
		if name.Tag == "!!merge" {
			more, ok := value.Value.([]Member)
			if !ok {
				return nil, &Error{Line: name.Line, What: "what is merged with << must be an object"}
			}
			merged = append(merged, more...)
			continue
		}
		if name.Kind != yaml.ScalarNode {
			return nil, &Error{Line: name.Line, What: "a key must be a string"}
		}
		members = append(members, Member{Key: name.Value, Line: name.Line, Value: value})
	}
	made, err := object(n.Line, members)
	if err != nil {
		return nil, err
	}
	for _, member := range merged {
		if made.Member(member.Key) == nil {
			made.Value = append(made.Value.([]Member), member)
		}
	}
	if made.Value.([]Member) == nil {
		made.Value = []Member{}
	}
	return made, nil
}

func yamlScalar(n *yaml.Node) (*Node, error) {
	node := &Node{Line: n.Line, Value: n.Value}
	var err error
	switch n.ShortTag() {
	case "!!null":
		node.Value = nil
		return node, nil
	case "!!bool":
		var value bool
		err = n.Decode(&value)
		node.Value = value
	case "!!int", "!!float":
		var whole int64
		var value float64
		if n.ShortTag() == "!!int" && n.Decode(&whole) == nil {
			node.Value = whole
		} else { // or it is too big
			err = n.Decode(&value)
			node.Value = value
		}
	default:
		return node, nil
	}
	if err != nil {
		return nil, &Error{Line: n.Line, What: fmt.Sprintf("this is no YAML: %q is not what its tag %s says", n.Value, n.ShortTag())}
	}
	node.Text = n.Value
	return node, nil
}
