package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"understudy.dev/understudy/config/decision"
	"understudy.dev/understudy/config/source"
)

// said is one value, and where it was said.
type said struct {
	node  *source.Node
	place string
	// at is the place of another line of the same file; nil for none.
	at func(line int) string
	// by is the key as it was written, where a file says it; empty where it
	// follows from another.
	by string
	// loose: the value is text of a flag or a variable, which stands for
	// numbers, booleans and lists too.
	loose bool
}

// file is the reading of one configuration file: what it says under the keys
// of form, and what is wrong with it.
type file struct {
	name     string
	line     func(int) int // of the file, for a line of what was parsed
	says     map[string]said
	problems Problems
	notices  []string
	unread   bool // it could not be rendered or parsed at all
	misnamed bool // something is wrong with how it speaks of a target
}

// readFile renders, parses and sorts a file's text. The key of the session is
// what key says, or the file, or a new one.
func readFile(name string, text []byte, key string, variables source.Variables) *file {
	f := &file{name: name, line: func(line int) int { return line }, says: map[string]said{}}
	root := f.parse(text, key, variables)
	if root == nil {
		f.unread = true
		return f
	}
	for _, member := range root.Value.([]source.Member) {
		f.read(member.Key, member)
	}
	return f
}

// parse gives the file's values, or nil and a problem. The file may say the key
// that its own templates speak of, so it is rendered twice.
func (f *file) parse(text []byte, key string, variables source.Variables) *source.Node {
	for {
		variables.Key = key
		if key == "" {
			variables.Key = newKey()
		}
		rendered, err := source.Render(f.name, text, variables)
		if err != nil {
			f.fail(err, func(line int) int { return line })
			return nil
		}
		f.line = rendered.Line
		root, err := source.Parse(f.name, source.FormatOf(f.name), rendered.Text)
		if err != nil {
			f.fail(err, f.line)
			return nil
		}
		if key == "" {
			if said := root.Member("key"); said != nil {
				key, _ = said.Value.(string)
			}
			if key != "" {
				continue
			}
		}
		return root
	}
}

// fail notes what is wrong with the file as a whole; line gives the line of the
// file for the one that the error names.
func (f *file) fail(err error, line func(int) int) {
	p := &Problem{What: err.Error()}
	var placed *source.Error
	if errors.As(err, &placed) {
		p = &Problem{What: placed.What, Advice: placed.Advice, Place: placed.File}
		if placed.Line > 0 {
			p.Place = fmt.Sprintf("%s:%d", placed.File, line(placed.Line))
		}
	}
	f.problems = append(f.problems, p)
}

func (f *file) place(line int) string { return fmt.Sprintf("%s:%d", f.name, f.line(line)) }

func (f *file) wrong(line int, advice, what string, args ...any) {
	f.problems = append(f.problems, &Problem{What: fmt.Sprintf(what, args...), Advice: advice, Place: f.place(line)})
}

func (f *file) set(key string, value any, line int) {
	f.says[key] = said{node: &source.Node{Value: value, Line: line}, place: f.place(line), at: f.place}
}

// say is what a key that is written as by says, which another place may have
// said otherwise.
func (f *file) say(key, by string, member source.Member) {
	if other := f.says[key]; other.by != "" && !reflect.DeepEqual(other.node.Plain(), member.Value.Plain()) {
		f.wrong(member.Line, "say it once: "+key, "%s is %s, and %s says with %s that it is %s", by, member.Value, other.place, other.by, other.node)
		return
	}
	f.says[key] = said{node: member.Value, place: f.place(member.Line), at: f.place, by: by}
}

// read sorts one key of the file. What is null was not said.
func (f *file) read(key string, member source.Member) {
	value := member.Value
	if value.Value == nil || key == "$schema" {
		return
	}
	row := decision.Key(key)
	switch {
	case row == nil && !decision.Section(key):
		f.unknown(key, key, member.Line)
		return
	case row == nil:
	case row.Verdict == decision.Meaningless:
		if f.meaningless(key, key, member.Line, value) && !value.Empty() && !row.Quiet(fmt.Sprint(value.Value)) {
			f.notices = append(f.notices, fmt.Sprintf("%s: %s has no meaning here: %s", f.place(member.Line), key, row.Text))
		}
		return
	case row.Quiet(fmt.Sprint(value.Value)):
		return
	case row.Verdict == decision.Refused && !Asks(row, value):
		return
	case row.Verdict == decision.Refused:
		f.wrong(member.Line, row.Do, "%s is not taken: %s", key, row.Text)
		return
	}
	switch _, isObject := value.Value.([]source.Member); {
	case key == "target":
		wrong := len(f.problems)
		f.target(value)
		f.misnamed = len(f.problems) > wrong
	case row != nil && row.Verdict == decision.Mapped:
		f.say(row.To[0], key, member)
	case decision.Section(key) && isObject:
		if key == "feature.copy_target" {
			f.set("feature.copy_target.enabled", true, member.Line)
		}
		for _, below := range value.Value.([]source.Member) {
			f.read(key+"."+below.Key, below)
		}
	case decision.Section(key):
		if expected := f.short(key, value); expected != "" {
			f.wrong(member.Line, "", "%s is %s, where %s is expected", key, value, expected)
		}
	default:
		f.say(key, key, member)
	}
}

// Asks says whether a value of what is refused asks for anything.
func Asks(row *decision.Row, value *source.Node) bool {
	members, isObject := value.Value.([]source.Member)
	switch {
	case value.Value == nil, value.Empty(), row.Quiet(fmt.Sprint(value.Value)):
		return false
	case !isObject:
		return true
	}
	return slices.ContainsFunc(members, func(member source.Member) bool {
		return member.Value.Value != nil && !slices.Contains(row.Idle, member.Key)
	})
}

// unknown tells of a key that there is not, and of the one that is nearest to it.
func (f *file) unknown(key, name string, line int) {
	hint := "take it out, or see docs/configuration.md for the keys that there are"
	if near := decision.Near(key); near != "" {
		hint = "did you mean " + near + "?"
	}
	f.wrong(line, hint, "there is no key %s", name)
}

// short reads a section that is written as one value. Where it cannot be, it
// says what is expected.
func (f *file) short(key string, value *source.Node) (expected string) {
	on, isBool := value.Value.(bool)
	text, isText := value.Value.(string)
	put := func(key string, to any) { f.set(key, to, value.Line) }
	switch {
	case key == "feature.env" && isBool:
		if !on {
			put("feature.env.exclude", "*")
		}
	case key == "feature.fs" && isBool:
		put("feature.fs.mode", map[bool]string{true: string(FilesRead), false: string(FilesLocal)}[on])
	case key == "feature.fs" && isText:
		put("feature.fs.mode", text)
	case key == "feature.network" && isBool:
		for _, below := range []string{"incoming", "outgoing", "dns"} {
			f.short("feature.network."+below, value)
		}
	case key == "feature.network.incoming" && isBool:
		if !on {
			put("feature.network.incoming.mode", string(IncomingOff))
		}
	case key == "feature.network.incoming" && isText:
		put("feature.network.incoming.mode", text)
	case key == "feature.network.outgoing" && isBool:
		put("feature.network.outgoing.tcp", on)
		put("feature.network.outgoing.udp", on)
	case key == "feature.network.dns" && isBool:
		put("feature.network.dns.enabled", on)
	case key == "feature.copy_target" && isBool:
		put("feature.copy_target.enabled", on)
	case key == "target.path":
		return "a string or an object"
	case slices.Contains(Shorthands["boolean"], key) && slices.Contains(Shorthands["string"], key):
		return "an object, a boolean or a string"
	case slices.Contains(Shorthands["boolean"], key):
		return "an object or a boolean"
	default:
		return "an object"
	}
	return ""
}

// Shorthands are the sections that may be written as one value.
var Shorthands = map[string][]string{
	"boolean": {"feature.env", "feature.fs", "feature.network", "feature.network.incoming", "feature.network.outgoing", "feature.network.dns", "feature.copy_target"},
	"string":  {"feature.fs", "feature.network.incoming", "target"},
}

// kinds are the keys by which a target's object names one kind, and what a path
// calls it.
var kinds = map[string]string{
	"deployment": "deployment", "pod": "pod", "rollout": "rollout", "job": "job", "cron_job": "cronjob",
	"stateful_set": "statefulset", "replica_set": "replicaset", "service": "service",
}

// target reads a target, which may be written in many ways: a path, or an
// object with the path, or with the kind, at its top or one deeper.
func (f *file) target(value *source.Node) {
	switch of := value.Value.(type) {
	case string:
		f.set("target.path", of, value.Line)
	case []source.Member:
		var rest []source.Member
		for _, member := range of {
			switch path := member.Value.Value.(type) {
			case string:
				if member.Key == "path" {
					f.set("target.path", path, member.Line)
					continue
				}
			case []source.Member:
				if member.Key == "path" {
					f.path("target.path", path)
					continue
				}
			}
			rest = append(rest, member)
		}
		f.path("target", rest)
	default:
		f.wrong(value.Line, "write it as deployment/NAME", "target is %s, where a string or an object is expected", value)
	}
}

func (f *file) path(section string, members []source.Member) {
	kind, name, container := "", "", ""
	line := 0
	for _, member := range members {
		text, isText := member.Value.Value.(string)
		_, isKind := kinds[member.Key]
		switch {
		case (isKind || member.Key == "container") && member.Value.Value == nil:
		case (isKind || member.Key == "container") && !isText:
			f.wrong(member.Line, "", "%s.%s is %s, where a string is expected", section, member.Key, member.Value)
		case isKind && kind != "":
			f.wrong(member.Line, "name one", "a target is one object, and here are %s and %s", kind, kinds[member.Key])
		case isKind:
			kind, name, line = kinds[member.Key], text, member.Line
		case member.Key == "container":
			container, line = text, max(line, member.Line)
		default:
			f.read(section+"."+member.Key, member)
		}
	}
	if kind == "" && container == "" {
		return
	}
	said, ok := f.says["target.path"]
	text := ""
	if ok {
		text, _ = said.node.Value.(string)
	}
	path, within, _ := strings.Cut(text, "/container/")
	switch named := kind + "/" + name; {
	case ok && kind != "" && path != named:
		f.wrong(line, "name one", "the target is %s, and %s says that it is %s", named, said.place, path)
		return
	case ok && container != "" && within != "" && within != container:
		f.wrong(line, "name one", "the target's container is %s, and %s says that it is %s", container, said.place, within)
		return
	case kind != "":
		path = named
	case !ok:
		f.wrong(line, "name the workload too: target.path", "a container is named, and nothing that it could be of")
		return
	}
	if container = cmp.Or(container, within); container != "" {
		path += "/container/" + container
	}
	f.set("target.path", path, line)
}
