package source

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"
)

// Format is how a file is written.
type Format string

// The formats.
const (
	JSON Format = "json"
	YAML Format = "yaml"
	TOML Format = "toml"
)

// FormatOf tells the format by a file's name; what is neither JSON nor TOML is
// YAML, which most JSON is too.
func FormatOf(name string) Format {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json", ".jsonc", ".json5", ".hujson":
		return JSON
	case ".toml":
		return TOML
	}
	return YAML
}

// Parse reads a file's text. An empty file is an empty object. The errors are
// *Error, with the line in text.
func Parse(file string, format Format, text []byte) (*Node, error) {
	var root *Node
	var err error
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	switch format {
	case JSON:
		root, err = parseJSON(text)
	case TOML:
		root, err = parseTOML(text)
	default:
		root, err = parseYAML(text)
	}
	var placed *Error
	switch {
	case errors.As(err, &placed):
		placed.File = file
		if placed.Advice == "" {
			placed.Advice = advise(format, placed.What)
		}
		return nil, placed
	case err != nil:
		return nil, &Error{File: file, What: err.Error(), Advice: "the file is read as " + string(format)}
	}
	if root.Value == nil {
		root.Value = []Member{}
	}
	if _, object := root.Value.([]Member); !object {
		return nil, &Error{File: file, Line: root.Line, What: "a configuration is an object, and this is " + root.Kind()}
	}
	return root, nil
}

// object makes a Node of members, and refuses a key that comes twice.
func object(line int, members []Member) (*Node, error) {
	for i, member := range members {
		if first := slices.IndexFunc(members[:i], func(m Member) bool { return m.Key == member.Key }); first >= 0 {
			return nil, &Error{Line: member.Line, What: fmt.Sprintf("the key %q is there twice, first in line %d", member.Key, members[first].Line)}
		}
	}
	return &Node{Value: members, Line: line}, nil
}

// jsonPlace is where hujson says that an error is.
var jsonPlace = regexp.MustCompile(`^hujson: line (\d+), column \d+: (?:parsing value: )?`)

func parseJSON(text []byte) (*Node, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return &Node{Line: 1}, nil
	}
	value, err := hujson.Parse(text)
	if err != nil {
		said := err.Error()
		if place := jsonPlace.FindStringSubmatch(said); place != nil {
			line, _ := strconv.Atoi(place[1])
			return nil, &Error{Line: line, What: "this is no JSON: " + said[len(place[0]):]}
		}
		return nil, err
	}
	return jsonNode(text, &value)
}

func jsonNode(text []byte, value *hujson.Value) (*Node, error) {
	line := 1 + bytes.Count(text[:value.StartOffset], []byte("\n"))
	switch v := value.Value.(type) {
	case *hujson.Object:
		members := make([]Member, 0, len(v.Members))
		for i := range v.Members {
			name, err := jsonNode(text, &v.Members[i].Name)
			if err != nil {
				return nil, err
			}
			value, err := jsonNode(text, &v.Members[i].Value)
			if err != nil {
				return nil, err
			}
			key, _ := name.Value.(string)
			members = append(members, Member{Key: key, Line: name.Line, Value: value})
		}
		return object(line, members)
	case *hujson.Array:
		list := make([]*Node, 0, len(v.Elements))
		for i := range v.Elements {
			item, err := jsonNode(text, &v.Elements[i])
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return &Node{Value: list, Line: line}, nil
	case hujson.Literal:
		switch v.Kind() {
		case 'n':
			return &Node{Line: line}, nil
		case 't', 'f':
			return &Node{Value: v.Bool(), Text: string(v), Line: line}, nil
		case '"':
			return &Node{Value: v.String(), Line: line}, nil
		default:
			if whole, err := strconv.ParseInt(string(v), 10, 64); err == nil {
				return &Node{Value: whole, Text: string(v), Line: line}, nil
			}
			return &Node{Value: v.Float(), Text: string(v), Line: line}, nil
		}
	}
	return nil, &Error{Line: line, What: fmt.Sprintf("a value of an unknown kind %T", value.Value)}
}
