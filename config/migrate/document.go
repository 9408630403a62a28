package migrate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/tailscale/hujson"
	"go.yaml.in/yaml/v3"

	"understudy.dev/understudy/config/source"
)

func newDocument(format source.Format, text []byte) (document, error) {
	switch format {
	case source.JSON:
		value, err := hujson.Parse(text)
		return &jsonDocument{value}, err
	case source.TOML:
		d := tomlDocument{}
		return d, toml.Unmarshal(text, (*map[string]any)(&d))
	}
	d := &yamlDocument{}
	return d, yaml.Unmarshal(text, &d.root)
}

// jsonDocument keeps every byte that is not changed.
type jsonDocument struct{ root hujson.Value }

// find gives the object that a path's last key is in, and the key's place in
// it; the place is negative where the key is not there.
func (d *jsonDocument) find(path []string) (*hujson.Object, int) {
	at := &d.root
	for i, key := range path {
		object, ok := at.Value.(*hujson.Object)
		if !ok {
			return nil, -1
		}
		place := slices.IndexFunc(object.Members, func(m hujson.ObjectMember) bool {
			name, ok := m.Name.Value.(hujson.Literal)
			return ok && name.Kind() == '"' && name.String() == key
		})
		if i == len(path)-1 || place < 0 {
			if i < len(path)-1 {
				object = nil
			}
			return object, place
		}
		at = &object.Members[place].Value
	}
	return nil, -1
}

// jsonValue writes a value on one line.
func jsonValue(value any) hujson.ValueTrimmed {
	quote := func(text string) string {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(text) // a string is always encoded
		return strings.TrimSpace(out.String())
	}
	var text string
	switch value := value.(type) {
	case bool:
		text = strconv.FormatBool(value)
	case string:
		text = quote(value)
	case []string:
		var items []string
		for _, item := range value {
			items = append(items, quote(item))
		}
		text = "[" + strings.Join(items, ", ") + "]"
	case pairs:
		var items []string
		for _, pair := range value {
			items = append(items, quote(pair[0])+": "+quote(pair[1]))
		}
		text = "{" + strings.Join(items, ", ") + "}"
	}
	parsed, err := hujson.Parse([]byte(text))
	if err != nil {
		panic(fmt.Sprintf("%s is no JSON: %v", text, err)) // a mistake in this package
	}
	return parsed.Value
}

func (d *jsonDocument) set(path []string, value any) {
	object, place := d.find(path)
	switch {
	case object == nil:
		return
	case place >= 0:
		object.Members[place].Value.Value = jsonValue(value)
		return
	}
	added := hujson.ObjectMember{
		Name:  hujson.Value{Value: hujson.String(path[len(path)-1])},
		Value: hujson.Value{BeforeExtra: hujson.Extra(" "), Value: jsonValue(value)},
	}
	if n := len(object.Members); n > 0 {
		// As the others stand, without their comments.
		added.Name.BeforeExtra = hujson.Extra(" ")
		before := string(object.Members[n-1].Name.BeforeExtra)
		if line := strings.LastIndex(before, "\n"); line >= 0 {
			added.Name.BeforeExtra = hujson.Extra(before[line:])
		}
		if last := &object.Members[n-1].Value; object.AfterExtra == nil {
			added.Value.AfterExtra, last.AfterExtra = last.AfterExtra, nil
		}
	}
	object.Members = append(object.Members, added)
}

func (d *jsonDocument) remove(path []string) {
	object, place := d.find(path)
	if object == nil || place < 0 {
		return
	}
	last := place == len(object.Members)-1
	removed := object.Members[place]
	object.Members = slices.Delete(object.Members, place, place+1)
	if place == 0 && len(object.Members) > 0 && string(object.Members[0].Name.BeforeExtra) == " " {
		object.Members[0].Name.BeforeExtra = removed.Name.BeforeExtra
	}
	if last && object.AfterExtra == nil {
		// What stands before the closing brace.
		if n := len(object.Members); n > 0 {
			object.Members[n-1].Value.AfterExtra = removed.Value.AfterExtra
		} else {
			object.AfterExtra = removed.Value.AfterExtra
		}
	}
}

func (d *jsonDocument) empty(path []string) bool {
	parent, place := d.find(path)
	if parent == nil || place < 0 {
		return false
	}
	object, ok := parent.Members[place].Value.Value.(*hujson.Object)
	return ok && len(object.Members) == 0
}

func (d *jsonDocument) bytes() ([]byte, error) { return d.root.Pack(), nil }

// yamlDocument keeps comments and order; spaces are written anew.
type yamlDocument struct{ root yaml.Node }

func (d *yamlDocument) find(path []string) (*yaml.Node, int) {
	if len(d.root.Content) == 0 {
		return nil, -1
	}
	at := d.root.Content[0]
	for i, key := range path {
		if at.Kind != yaml.MappingNode {
			return nil, -1
		}
		place := -1
		for j := 0; j+1 < len(at.Content); j += 2 {
			if at.Content[j].Value == key {
				place = j
			}
		}
		if i == len(path)-1 {
			return at, place
		}
		if place < 0 {
			return nil, -1
		}
		at = at.Content[place+1]
	}
	return nil, -1
}

func yamlValue(value any) *yaml.Node {
	node := &yaml.Node{}
	if object, ok := value.(pairs); ok {
		node.Kind = yaml.MappingNode
		for _, pair := range object {
			node.Content = append(node.Content, yamlValue(pair[0]), yamlValue(pair[1]))
		}
		return node
	}
	_ = node.Encode(value) // strings and lists of them are always encoded
	return node
}

func (d *yamlDocument) set(path []string, value any) {
	object, place := d.find(path)
	switch {
	case object == nil:
	case place >= 0:
		was, now := object.Content[place+1], yamlValue(value)
		now.HeadComment, now.LineComment, now.FootComment = was.HeadComment, was.LineComment, was.FootComment
		object.Content[place+1] = now
	default:
		object.Content = append(object.Content, yamlValue(path[len(path)-1]), yamlValue(value))
	}
}

func (d *yamlDocument) remove(path []string) {
	object, place := d.find(path)
	if object != nil && place >= 0 {
		object.Content = slices.Delete(object.Content, place, place+2)
	}
}

func (d *yamlDocument) empty(path []string) bool {
	object, place := d.find(path)
	if object == nil || place < 0 {
		return false
	}
	section := object.Content[place+1]
	return section.Kind == yaml.MappingNode && len(section.Content) == 0
}

func (d *yamlDocument) bytes() ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&d.root); err != nil {
		return nil, fmt.Errorf("writing the file: %w", err)
	}
	return out.Bytes(), nil
}

// tomlDocument has no comments and no order: the library writes none.
type tomlDocument map[string]any

func (d tomlDocument) section(path []string) map[string]any {
	at := map[string]any(d)
	for _, key := range path[:len(path)-1] {
		at, _ = at[key].(map[string]any)
	}
	return at
}

func (d tomlDocument) set(path []string, value any) {
	if object, ok := value.(pairs); ok {
		table := map[string]any{}
		for _, pair := range object {
			table[pair[0]] = pair[1]
		}
		value = table
	}
	if section := d.section(path); section != nil {
		section[path[len(path)-1]] = value
	}
}

func (d tomlDocument) remove(path []string) { delete(d.section(path), path[len(path)-1]) }

func (d tomlDocument) empty(path []string) bool {
	section, ok := d.section(path)[path[len(path)-1]].(map[string]any)
	return ok && len(section) == 0
}

func (d tomlDocument) bytes() ([]byte, error) { return toml.Marshal(map[string]any(d)) }

// comments says whether a TOML text has any.
func comments(text []byte) bool {
	parser := unstable.Parser{KeepComments: true}
	parser.Reset(text)
	var found bool
	var look func(node *unstable.Node)
	look = func(node *unstable.Node) {
		for ; node != nil && !found; node = node.Next() {
			found = node.Kind == unstable.Comment
			look(node.Child())
		}
	}
	for parser.NextExpression() {
		look(parser.Expression())
	}
	return found
}
