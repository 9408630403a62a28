package migrate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"
	"go.yaml.in/yaml/v3"

	"understudy.dev/understudy/config/source"
)

func newDocument(format source.Format, text []byte) (document, error) {
	switch format {
	case source.JSON:
		value, err := hujson.Parse(text)
		return &jsonDocument{root: value}, err
	case source.TOML:
		return &tomlDocument{text: string(text)}, nil
	}
	d := &yamlDocument{}
	err := yaml.Unmarshal(text, &d.root)
	d.layout = layoutOf(&d.root, string(text))
	return d, err
}

// jsonDocument keeps every byte that is not changed.
type jsonDocument struct {
	root hujson.Value
	// headless: the first key is no more the one that the file began with, and header
	// is what stood before that.
	headless bool
	header   hujson.Extra
}

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

// quote writes a string as JSON has it, and TOML.
func quote(text string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string is always encoded
	return strings.ReplaceAll(strings.TrimSpace(out.String()), "\x7f", `\u007f`)
}

// jsonValue writes a value on one line.
func jsonValue(value any) hujson.ValueTrimmed {
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
		member := &object.Members[place]
		inside := commentsOf(member.Value.Value)
		member.Value.Value = jsonValue(value)
		for _, comment := range inside {
			// In front of the key, in a line as the key's own.
			before := string(member.Name.BeforeExtra)
			indent := " "
			if line := strings.LastIndex(before, "\n"); line >= 0 {
				indent = before[line:]
			} else if strings.HasPrefix(comment, "//") {
				indent = "\n"
			}
			member.Name.BeforeExtra = hujson.Extra(before + comment + indent)
		}
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
		// What ends the last one's line stays there.
		last, end := &object.Members[n-1].Value, &object.AfterExtra
		if last.AfterExtra != nil {
			added.Value.AfterExtra = hujson.Extra{} // it says that a comma follows
		}
		if same, rest := sameLine(*end); commentIn(same) {
			if len(added.Name.BeforeExtra) == 0 || added.Name.BeforeExtra[0] != '\n' {
				added.Name.BeforeExtra = hujson.Extra("\n")
			}
			added.Name.BeforeExtra = append(slices.Clone(same), added.Name.BeforeExtra...)
			*end = rest
		}
	}
	object.Members = append(object.Members, added)
}

// remove takes a key out, and with it the comments that are its own: in its line
// behind it, and in the lines right above it.
func (d *jsonDocument) remove(path []string) {
	object, place := d.find(path)
	if object == nil || place < 0 {
		return
	}
	removed := object.Members[place]
	object.Members = slices.Delete(object.Members, place, place+1)
	stays := aboveKey(removed.Name.BeforeExtra)
	if len(path) == 1 && place == 0 {
		if !d.headless {
			d.headless, d.header = true, slices.Clone(stays)
			if _, rest := sameLine(removed.Name.BeforeExtra); commentIn(rest) && !blankLine.Match(rest) {
				d.header = bytes.TrimRight(removed.Name.BeforeExtra, " \t\n")
			}
		}
		if _, rest := sameLine(d.header); commentIn(rest) && bytes.HasPrefix(removed.Name.BeforeExtra, d.header) {
			stays = d.header
			if len(object.Members) > 0 {
				stays = append(slices.Clone(stays), '\n') // it is not the next one's own
			}
		}
	}
	switch n := len(object.Members); {
	case place < n:
		next := &object.Members[place].Name.BeforeExtra
		same, rest := sameLine(*next)
		switch {
		case rest != nil:
			*next = append(slices.Clone(stays), rest...)
		case len(stays) > 0 || place == 0 && string(same) == " ":
			*next = append(slices.Clone(removed.Name.BeforeExtra), hujson.Extra(strings.TrimLeft(string(same), " "))...)
		}
	default:
		if n > 0 {
			// It says whether a comma follows the last one.
			last := &object.Members[n-1].Value
			switch {
			case removed.Value.AfterExtra == nil && !commentIn(last.AfterExtra):
				last.AfterExtra = nil
			case removed.Value.AfterExtra != nil && last.AfterExtra == nil:
				last.AfterExtra = hujson.Extra{}
			}
		}
		_, rest := sameLine(object.AfterExtra)
		if rest == nil && commentIn(stays) {
			rest = append(hujson.Extra("\n"), object.AfterExtra...)
		}
		if rest != nil {
			object.AfterExtra = append(slices.Clone(stays), rest...)
		}
	}
}

// sameLine parts what stands between two values at its first line's end; there
// is no rest where it is all one line.
func sameLine(extra hujson.Extra) (same, rest hujson.Extra) {
	if line := bytes.IndexByte(extra, '\n'); line >= 0 {
		return extra[:line], extra[line:]
	}
	return extra, nil
}

// aboveKey is what stands before a key and does not belong to it: the end of the
// line before, and what a blank line parts from it.
func aboveKey(extra hujson.Extra) hujson.Extra {
	same, rest := sameLine(extra)
	if rest == nil {
		return nil
	}
	if blank := blankLine.FindAllIndex(rest, -1); len(blank) > 0 {
		return extra[:len(same)+blank[len(blank)-1][0]]
	}
	return same
}

var blankLine = regexp.MustCompile(`\n[ \t\r]*\n`)

func commentIn(extra hujson.Extra) bool { return bytes.ContainsRune(extra, '/') }

// jsonComment is one comment. Only what is between values is looked at, so
// there are no strings.
var jsonComment = regexp.MustCompile(`(?s)//[^\r\n]*|/\*.*?\*/`)

// commentsOf are the comments inside a value.
func commentsOf(value hujson.ValueTrimmed) (found []string) {
	switch value := value.(type) {
	case *hujson.Object:
		for _, member := range value.Members {
			found = append(found, commentsAt(member.Name)...)
			found = append(found, commentsAt(member.Value)...)
		}
		found = append(found, commentsBetween(value.AfterExtra)...)
	case *hujson.Array:
		for _, element := range value.Elements {
			found = append(found, commentsAt(element)...)
		}
		found = append(found, commentsBetween(value.AfterExtra)...)
	}
	return found
}

// commentsAt are those inside a value, before it and behind it.
func commentsAt(value hujson.Value) []string {
	return slices.Concat(commentsBetween(value.BeforeExtra), commentsOf(value.Value), commentsBetween(value.AfterExtra))
}

func commentsBetween(extra hujson.Extra) []string {
	return jsonComment.FindAllString(string(extra), -1)
}

func (d *jsonDocument) comments() []string { return commentsAt(d.root) }

func (d *jsonDocument) empty(path []string) bool {
	parent, place := d.find(path)
	if parent == nil || place < 0 {
		return false
	}
	object, ok := parent.Members[place].Value.Value.(*hujson.Object)
	return ok && len(object.Members) == 0
}

func (d *jsonDocument) bytes() ([]byte, error) { return d.root.Pack(), nil }

// yamlDocument keeps comments, order, quotes and layout; other spaces are written anew.
type yamlDocument struct {
	root   yaml.Node
	layout layout
	// headless: the first key is no more the one that the file began with.
	headless bool
}

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
		key, was, now := object.Content[place], object.Content[place+1], yamlValue(value)
		object.Content[place+1] = now
		if was.Kind == yaml.ScalarNode && now.Kind == yaml.ScalarNode {
			now.HeadComment, now.LineComment, now.FootComment = was.HeadComment, was.LineComment, was.FootComment
			now.Style |= was.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
			return
		}
		// In front of the key: a comment in the line of a list, or inside what
		// is no more, has no place of its own.
		keep(now, was)
		above := []string{key.HeadComment, key.LineComment}
		key.LineComment = ""
		key.HeadComment = join(append(above, yamlComments(was)...)...)
	default:
		object.Content = append(object.Content, yamlValue(path[len(path)-1]), yamlValue(value))
	}
}

// keep takes over into an object what another one says in the same words, quotes and
// comments with it.
func keep(now, was *yaml.Node) {
	if now.Kind != yaml.MappingNode || was.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(now.Content); i += 2 {
		for j := 0; j+1 < len(was.Content); j += 2 {
			if value := was.Content[j+1]; was.Content[j].Value == now.Content[i].Value && value.Kind == yaml.ScalarNode && value.Value == now.Content[i+1].Value {
				copy(now.Content[i:i+2], was.Content[j:j+2])
				was.Content = slices.Delete(was.Content, j, j+2)
				break
			}
		}
	}
}

func (d *yamlDocument) remove(path []string) {
	object, place := d.find(path)
	if object == nil || place < 0 {
		return
	}
	removed := object.Content[place]
	if len(path) == 1 && place == 0 && !d.headless {
		d.headless = true
		if d.root.HeadComment == "" && !strings.Contains(removed.HeadComment, "\n\n") {
			d.root.HeadComment, removed.HeadComment = removed.HeadComment, ""
		}
	}
	object.Content = slices.Delete(object.Content, place, place+2)
	// What a blank line parts from the key is not its own.
	above := removed.HeadComment[:max(strings.LastIndex(removed.HeadComment, "\n\n"), 0)]
	switch {
	case place < len(object.Content):
		next := object.Content[place]
		next.HeadComment = join(above, removed.FootComment, next.HeadComment)
	case place > 0:
		last := object.Content[place-2]
		last.FootComment = join(last.FootComment, above, removed.FootComment)
	}
}

// yamlComments are the comments of a value and of what is in it.
func yamlComments(node *yaml.Node) []string {
	found := []string{node.HeadComment, node.LineComment}
	for _, below := range node.Content {
		found = append(found, yamlComments(below)...)
	}
	return append(found, node.FootComment)
}

func (d *yamlDocument) comments() (lines []string) {
	for _, comment := range yamlComments(&d.root) {
		for line := range strings.SplitSeq(comment, "\n") {
			if line != "" {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// join puts each comment that there is into lines of its own.
func join(comments ...string) string {
	return strings.Join(slices.DeleteFunc(comments, func(comment string) bool { return comment == "" }), "\n")
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
	encoder.SetIndent(d.layout.indent)
	if d.layout.compact {
		encoder.CompactSeqIndent()
	}
	if err := encoder.Encode(&d.root); err != nil {
		return nil, fmt.Errorf("writing the file: %w", err)
	}
	return []byte(d.layout.space(out.String())), nil
}
