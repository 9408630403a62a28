package source

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML has the library decode, which says what is wrong, and looks at its
// syntax tree for the lines, which decoding does not keep.
func parseTOML(text []byte) (*Node, error) {
	var decoded map[string]any
	if err := toml.Unmarshal(text, &decoded); err != nil {
		var placed *toml.DecodeError
		if errors.As(err, &placed) {
			line, _ := placed.Position()
			said := strings.TrimPrefix(placed.Error(), "toml: ")
			lines := strings.Split(string(text), "\n")
			switch {
			case line <= len(lines) && tomlNothing.MatchString(lines[line-1]):
				said = "a value is missing"
			case tomlWord.MatchString(said):
				said = "a text has to stand in quotes"
			}
			return nil, &Error{Line: line, What: "this is no TOML: " + said}
		}
		if twice := tomlTwice(text); twice != nil {
			return nil, twice
		}
		return nil, &Error{What: "this is no TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
	}
	return tomlNode(decoded, "", 1, tomlPlaces(text)), nil
}

// tomlWord is what the library says of a text without quotes: it takes the first
// letter for that of the only word that begins with it, or for a digit.
var tomlWord = regexp.MustCompile(`^expected '(nan|inf|true|false)'$|^incomplete number$`)

// tomlNothing is a line that gives a key no value.
var tomlNothing = regexp.MustCompile(`^[^"'#=]*=\s*(#.*)?$`)

// tomlTwice finds a key that has a value twice, of which the library says no line.
func tomlTwice(text []byte) *Error {
	var parser unstable.Parser
	parser.Reset(text)
	table, first := "", map[string]int{}
	for parser.NextExpression() {
		expression := parser.Expression()
		path, name, line := "", "", 0
		for keys := expression.Key(); keys.Next(); {
			key := keys.Node()
			path, name, line = below(path, string(key.Data)), string(key.Data), 1+bytes.Count(text[:key.Raw.Offset], []byte("\n"))
		}
		switch expression.Kind {
		case unstable.Table:
			table = path
		case unstable.ArrayTable: // each has its own keys
			table = fmt.Sprint(path, line)
			continue
		case unstable.KeyValue:
			path = table + path
		default:
			continue
		}
		if before, known := first[path]; known {
			return &Error{Line: line, What: fmt.Sprintf("the key %q is there twice, first in line %d", name, before)}
		}
		first[path] = line
	}
	return nil
}

// path of a key below another; no key holds this character.
func below(path, key string) string { return path + "\x00" + key }

// tomlPlace is where a key is first spoken of, and how its value is written.
type tomlPlace struct {
	line int
	text string
}

// tomlPlaces gives the place of each key. The elements of an array of tables
// are not told apart: what several of them say has no text.
func tomlPlaces(text []byte) map[string]tomlPlace {
	places := map[string]tomlPlace{}
	var parser unstable.Parser
	parser.Reset(text)
	follow := func(path string, keys unstable.Iterator) string {
		for keys.Next() {
			key := keys.Node()
			path = below(path, string(key.Data))
			if _, known := places[path]; !known {
				places[path] = tomlPlace{line: 1 + bytes.Count(text[:key.Raw.Offset], []byte("\n"))}
			}
		}
		return path
	}
	var values func(path string, expression *unstable.Node)
	several := map[string]bool{}
	values = func(path string, expression *unstable.Node) {
		path = follow(path, expression.Key())
		place := places[path]
		if place.text = string(expression.Value().Data); several[path] {
			place.text = ""
		}
		places[path], several[path] = place, true
		children := expression.Value().Children()
		for expression.Value().Kind == unstable.InlineTable && children.Next() {
			values(path, children.Node())
		}
	}
	table := ""
	for parser.NextExpression() {
		switch expression := parser.Expression(); expression.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = follow("", expression.Key())
		case unstable.KeyValue:
			values(table, expression)
		}
	}
	return places
}

func tomlNode(value any, path string, line int, places map[string]tomlPlace) *Node {
	switch value := value.(type) {
	case map[string]any:
		members := make([]Member, 0, len(value))
		for key, content := range value {
			at := cmp.Or(places[below(path, key)].line, line)
			members = append(members, Member{Key: key, Line: at, Value: tomlNode(content, below(path, key), at, places)})
		}
		slices.SortFunc(members, func(a, b Member) int { return cmp.Or(a.Line-b.Line, strings.Compare(a.Key, b.Key)) })
		return &Node{Value: members, Line: line}
	case []any:
		list := make([]*Node, 0, len(value))
		for _, item := range value {
			list = append(list, tomlNode(item, path, line, nil))
		}
		return &Node{Value: list, Line: line}
	case string:
		return &Node{Value: value, Line: line}
	case bool, int64, float64:
		return &Node{Value: value, Text: places[path].text, Line: line}
	}
	return &Node{Value: cmp.Or(places[path].text, fmt.Sprint(value)), Line: line} // a date
}
