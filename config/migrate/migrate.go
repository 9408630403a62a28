// Package migrate rewrites a configuration file into understudy's own form, by
// the table of decisions: what has no meaning goes, old forms become new ones,
// and what a person has to decide is left and told. Templates are not filled
// in, comments and the order stay.
package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/config/decision"
	"understudy.dev/understudy/config/source"
)

// Result is a file in the new form.
type Result struct {
	// Text of the file; the same as before where there are no Changes.
	Text []byte
	// Changes are what was changed and why, one sentence each.
	Changes []string
	// Left is what a person has to decide, and what would be refused, one sentence each.
	Left []string
	// Target that Text names here; empty where it names none, where that is not known,
	// and where something is left to say of it.
	Target string
}

// mark is what some editors begin a file with.
const mark = "\xef\xbb\xbf"

// File rewrites a file's text. The error is a *source.Error.
func File(name string, text []byte) (*Result, error) {
	format := source.FormatOf(name)
	plain, marked := bytes.CutPrefix(text, []byte(mark))
	returns := bytes.Contains(plain, []byte("\r\n")) && bytes.Count(plain, []byte("\n")) == bytes.Count(plain, []byte("\r\n"))
	if returns { // as other systems end lines; here there is one way
		plain = bytes.ReplaceAll(plain, []byte("\r\n"), []byte("\n"))
	}
	hidden := hide(string(plain), format)
	root, err := source.Parse(name, format, []byte(hidden.text))
	if err != nil {
		var placed *source.Error
		if errors.As(err, &placed) && len(hidden.templates) > 0 {
			placed.What = hidden.show(placed.What)
			placed.Advice = "the file is rewritten without filling its templates in, and without them it is no " + strings.ToUpper(string(format)) + ": " + byHand + filledIn(name, plain)
		}
		return nil, err
	}
	if members, _ := root.Value.([]source.Member); len(members) == 0 {
		return &Result{Text: text}, nil
	}
	m, err := look(name, format, []byte(hidden.text), root)
	if err != nil {
		return nil, err
	}
	for _, said := range [][]string{m.result.Changes, m.result.Left} {
		for i := range said {
			said[i] = hidden.show(said[i])
		}
	}
	if len(m.result.Changes) == 0 {
		m.result.Text = text
		m.wrong(name)
		return &m.result, nil
	}
	if statements(string(text)) {
		return nil, m.refuse(name, "the file cannot be rewritten: what its {% ... %} leave in and out may be another thing elsewhere")
	}
	out, err := m.doc.bytes()
	if err != nil {
		return nil, &source.Error{File: name, What: err.Error()}
	}
	m.result.Text = []byte(hidden.show(string(out)))
	if returns {
		m.result.Text = bytes.ReplaceAll(m.result.Text, []byte("\n"), []byte("\r\n"))
	}
	if marked {
		m.result.Text = append([]byte(mark), m.result.Text...)
	}
	if err := check(name, text, m.result.Text); err != nil {
		return nil, m.refuse(name, fmt.Sprintf("the file cannot be rewritten: %v", err))
	}
	m.wrong(name)
	return &m.result, nil
}

// look makes all changes that there are to make of a text.
func look(name string, format source.Format, text []byte, root *source.Node) (*migration, error) {
	doc, err := newDocument(format, text)
	if err != nil {
		return nil, &source.Error{File: name, What: err.Error()}
	}
	m := &migration{doc: doc, root: root}
	comments := doc.comments()
	m.walk("", root)
	m.target()
	m.sections("", root)
	for _, kept := range doc.comments() {
		if i := slices.Index(comments, kept); i >= 0 {
			comments = slices.Delete(comments, i, i+1)
		}
	}
	if len(comments) > 0 {
		m.changed("comments are gone with what they were about: %s", strings.Join(comments, ", "))
	}
	return m, nil
}

const byHand = "rewrite it by hand, as `understudy config verify` says"

// refuse is the error for a file that nobody but a person can rewrite. It says
// what there is to do.
func (m *migration) refuse(name, what string) error {
	return &source.Error{File: name, What: what, Advice: byHand + m.list()}
}

// list is what there is to change, a line each.
func (m *migration) list() (lines string) {
	for _, change := range m.result.Changes {
		lines += "\n- " + change
	}
	return lines
}

// document is a file that can be changed. Paths name keys from the top.
type document interface {
	// set gives a key a value, which is a string, true, a list of strings or
	// an object of strings; a new key goes to the end of its section.
	set(path []string, value any)
	// remove takes a key out, and the comments that are its own. Those that the file
	// begins with stay, without a blank line too: they may be about all of it.
	remove(path []string)
	// empty says whether an object has no keys.
	empty(path []string) bool
	// comments are all that there are.
	comments() []string
	bytes() ([]byte, error)
}

// migration is one file on its way.
type migration struct {
	doc    document
	root   *source.Node
	result Result
	// told are the beginnings of what config says in other words of what is left already.
	told []string
}

func (m *migration) changed(format string, args ...any) {
	m.result.Changes = append(m.result.Changes, fmt.Sprintf(format, args...))
}

func (m *migration) left(format string, args ...any) {
	if sentence := fmt.Sprintf(format, args...); !slices.Contains(m.result.Left, sentence) {
		m.result.Left = append(m.result.Left, sentence)
	}
}

// walk looks at each key below a section.
func (m *migration) walk(section string, node *source.Node) {
	members, _ := node.Value.([]source.Member)
	for _, member := range members {
		key := strings.TrimPrefix(section+"."+member.Key, ".")
		row := decision.Key(key)
		switch {
		case key == "target" || key == "$schema":
		case row == nil && !decision.Section(key), strange(section, member.Key):
			if member.Value.Value == nil {
				continue // not said
			}
			near := decision.Near(key)
			if near != "" {
				near = "; did you mean " + near + "?"
			}
			m.left("there is no key %s%s", key, near)
		case row != nil && row.Verdict == decision.Refused && row.Quiet(fmt.Sprint(member.Value.Value)):
			m.doc.remove(strings.Split(key, "."))
			m.changed("%s is gone: %s is what holds anyway", key, member.Value)
		case row != nil && row.Verdict == decision.Refused:
			if config.Asks(row, member.Value) {
				m.left("%s is not taken: %s; %s", key, row.Text, row.Do)
			}
		case row != nil && row.Verdict == decision.Meaningless && decides(key, member.Value):
			m.walk(key, member.Value)
		case row != nil && row.Verdict == decision.Meaningless:
			m.doc.remove(strings.Split(key, "."))
			m.changed("%s is gone: %s", key, row.Text)
		case key == "pause" || key == "agent.pause":
			m.pause(key, member.Value)
		case key == "agent.startup_timeout":
			m.startupTimeout(member.Value)
		case slices.Contains(config.Lists(), key):
			m.join(key, member.Value)
		case decision.Section(key):
			m.walk(key, member.Value) // below others there are names of a person's own
		}
	}
}

// strange says whether a name is none of those below a section that is decided as a
// whole.
func strange(section, name string) bool {
	row, known := decision.Key(section), decision.Below(section)
	return row != nil && row.Verdict == decision.Meaningless && len(known) > 0 && !slices.Contains(known, name)
}

// decides says whether a person has to decide about something in a section that has
// no meaning here otherwise.
func decides(section string, node *source.Node) bool {
	members, _ := node.Value.([]source.Member)
	return slices.ContainsFunc(members, func(member source.Member) bool {
		row := decision.Key(section + "." + member.Key)
		switch {
		case row == nil || member.Value.Value == nil:
			return false
		case row.Verdict == decision.Refused:
			return config.Asks(row, member.Value)
		}
		return strange(section, member.Key)
	})
}

// pause stays: what it comes to hangs on the pods that the target has, which no
// file says.
func (m *migration) pause(key string, value *source.Node) {
	path := strings.Split(key, ".")
	on, ok := value.Value.(bool)
	takeover, _ := textOf(m.root.Member("takeover"))
	var oldest *source.Node
	if agent := m.root.Member("agent"); agent != nil {
		oldest = agent.Member("pause")
	}
	newer := m.root.Member("pause")
	twice := oldest != nil && newer != nil && oldest.Value != nil && newer.Value != nil
	switch {
	case twice && oldest.Value != newer.Value:
		m.left("pause and agent.pause say different things: take agent.pause out")
		m.told = append(m.told, "pause is ", "agent.pause is ")
	case twice && key == "agent.pause":
		m.doc.remove(path)
		m.changed("agent.pause is gone: pause says it already")
	case value.Value == nil:
	case !ok:
		m.left("%s is %s, where true or false is expected", key, value)
	case !on:
		m.doc.remove(path)
		m.changed("%s is gone: false is what holds anyway", key)
	case m.copies():
		m.left("pause and feature.copy_target exclude each other: choose one of both")
	case takeover == string(config.TakeoverFreeze):
		m.doc.remove(path)
		m.changed("%s is gone: takeover: freeze says it already", key)
	case takeover != "":
		m.left("pause and takeover exclude each other: choose one of both")
	default:
		if key == "agent.pause" {
			m.doc.remove(path)
			m.doc.set([]string{"pause"}, true)
			m.changed("agent.pause is pause now")
		}
		m.left("pause is deprecated: write takeover: freeze instead where the target has one pod, or takeover: scale-down where it has several, which pause holds at zero")
	}
}

// wrong is what exec would refuse of the new text, but for what is told already.
// Where its templates cannot be filled in here that is not known.
func (m *migration) wrong(name string) {
	c, problems, err := config.Alone(name, m.result.Text)
	if err != nil {
		m.left("whether anything else is wrong is not known here: %v; understudy config verify says it where its templates can be filled in", err)
		return
	}
	if !slices.ContainsFunc(problems, func(p *config.Problem) bool { return p.About("target.path") }) {
		m.result.Target = c.Target
	}
	for _, p := range problems {
		told := slices.ContainsFunc(m.result.Left, func(left string) bool { return strings.HasPrefix(left, p.What) }) ||
			slices.ContainsFunc(m.told, func(beginning string) bool { return strings.HasPrefix(p.What, beginning) })
		switch {
		case told:
		case p.Advice == "":
			m.left("%s", p.What)
		default:
			m.left("%s: %s", p.What, p.Advice)
		}
	}
}

// copies says whether the file asks for a stand-in.
func (m *migration) copies() bool {
	feature := m.root.Member("feature")
	if feature == nil {
		return false
	}
	section := feature.Member("copy_target")
	if section == nil || section.Value == nil || section.Value == false {
		return false
	}
	enabled := section.Member("enabled")
	return enabled == nil || enabled.Value != false
}

func (m *migration) startupTimeout(value *source.Node) {
	if value.Value == nil {
		return // not said
	}
	path := []string{"agent", "startup_timeout"}
	if now := m.root.Member("setup_timeout"); now != nil && now.Value != nil {
		if reflect.DeepEqual(now.Plain(), value.Plain()) {
			m.doc.remove(path)
			m.changed("agent.startup_timeout is gone: setup_timeout says it already")
			return
		}
		m.left("agent.startup_timeout and setup_timeout say the same thing differently: take agent.startup_timeout out")
		m.told = append(m.told, "setup_timeout is ", "agent.startup_timeout is ")
		return
	}
	text, ok := value.Value.(string)
	_, notSeconds := strconv.ParseUint(value.String(), 10, 32)
	if ok {
		_, notSeconds = strconv.ParseUint(text, 10, 32)
	}
	_, notTime := time.ParseDuration(text)
	switch {
	case notSeconds == nil && ok:
		text += "s"
	case notSeconds == nil:
		text = fmt.Sprintf("%ds", value.Value)
	case ok && (notTime == nil || stands.MatchString(text)):
	default:
		m.left("agent.startup_timeout is setup_timeout here, and %s is no time: write it as in 90s", value)
		m.told = append(m.told, "setup_timeout is ", "agent.startup_timeout is ")
		return
	}
	m.doc.remove(path)
	m.doc.set([]string{"setup_timeout"}, text)
	m.changed("agent.startup_timeout is setup_timeout now: it is the time for everything, not for an agent")
}

// join makes a list of several strings that are joined with ";".
func (m *migration) join(key string, value *source.Node) {
	text, ok := value.Value.(string)
	if !ok || !strings.Contains(text, ";") {
		return
	}
	var list []string
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	m.doc.set(strings.Split(key, "."), list)
	m.changed("%s is a list now: it was one string joined with semicolons", key)
}

// kinds are the keys by which a target's object names one kind, and what a path
// calls it.
var kinds = map[string]string{
	"deployment": "deployment", "pod": "pod", "rollout": "rollout", "job": "job", "cron_job": "cronjob",
	"stateful_set": "statefulset", "replica_set": "replicaset", "service": "service",
}

// target becomes a path, beside its namespace where it has one.
func (m *migration) target() {
	node := m.root.Member("target")
	if node == nil {
		return
	}
	if path, ok := node.Value.(string); ok {
		if long := longKind(path); long != path {
			m.doc.set([]string{"target"}, long)
			m.changed("target is spelt out: %s", long)
		}
		return
	}
	members, _ := node.Value.([]source.Member)
	path, kind, container := "", "", ""
	same := true
	var read func(section string, members []source.Member)
	read = func(section string, members []source.Member) {
		for _, member := range members {
			key := section + "." + member.Key
			text, isText := member.Value.Value.(string)
			below, isObject := member.Value.Value.([]source.Member)
			row := decision.Key(key)
			switch {
			case member.Value.Value == nil:
			case key == "target.path" && isText:
				path = text
			case key == "target.path" && isObject:
				same = false
				read(key, below)
			case kinds[member.Key] != "" && isText:
				same = false
				kind = kinds[member.Key] + "/" + text
			case member.Key == "container" && isText:
				same = false
				container = text
			case row == nil:
				m.left("there is no key %s", key)
			case row.Verdict == decision.Refused:
				m.left("%s is not taken: %s; %s", key, row.Text, row.Do)
			}
		}
	}
	left := len(m.result.Left)
	read("target", members)
	if len(m.result.Left) > left {
		return // a person must decide first
	}
	path = longKind(pick(kind, path))
	if container != "" && path != "" && !strings.Contains(path, "/container/") {
		path += "/container/" + container
	}
	if was := node.Member("path"); same && (was == nil || was.Value == path || was.Value == nil) {
		return
	}
	namespace, _ := textOf(node.Member("namespace"))
	if namespace == "" {
		m.doc.set([]string{"target"}, path)
	} else {
		m.doc.set([]string{"target"}, pairs{{"path", path}, {"namespace", namespace}})
	}
	m.changed("target is written as a path: %s", path)
}

// pairs are the keys and values of an object, in order.
type pairs [][2]string

func pick(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func textOf(node *source.Node) (string, bool) {
	if node == nil {
		return "", false
	}
	text, ok := node.Value.(string)
	return text, ok
}

var shortKind = regexp.MustCompile(`^deploy/`)

func longKind(path string) string { return shortKind.ReplaceAllString(path, "deployment/") }

// sections that have become empty go.
func (m *migration) sections(section string, node *source.Node) {
	members, _ := node.Value.([]source.Member)
	for _, member := range members {
		key := strings.TrimPrefix(section+"."+member.Key, ".")
		below, isObject := member.Value.Value.([]source.Member)
		if !isObject || len(below) == 0 || !decision.Section(key) || key == "target" {
			continue
		}
		m.sections(key, member.Value)
		if m.doc.empty(strings.Split(key, ".")) && key != "feature.copy_target" {
			m.doc.remove(strings.Split(key, "."))
		}
	}
}
