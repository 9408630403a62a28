package source

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
)

// Variables are what a template may speak of.
type Variables struct {
	// Key is the session's key, {{ key }}; where it is empty the variable does
	// not exist.
	Key string
	// Branch is the branch that is checked out, {{ git_branch }}; where it is
	// empty the variable does not exist.
	Branch string
	// Now is what time it is, for now(); nil for this machine's clock.
	Now func() time.Time
	// Env looks a variable of the environment up, for get_env.
	Env func(name string) (string, bool)
}

// Rendered is a file's text with its templates filled in.
type Rendered struct {
	Text []byte
	// lines of the file that the lines of Text come from, both from 1; nil
	// where they are the same.
	lines []int
}

// Line of the file that a line of the text comes from.
func (r *Rendered) Line(line int) int {
	if line < 1 || line > len(r.lines) {
		return line
	}
	return r.lines[line-1]
}

// HasTemplates says whether a file has to be rendered.
func HasTemplates(text []byte) bool {
	return bytes.Contains(text, []byte("{{")) || bytes.Contains(text, []byte("{%")) || bytes.Contains(text, []byte("{#"))
}

// Render fills in the templates of a file, in the syntax that Jinja and Tera
// share. The error is an *Error that names line and expression.
func Render(file string, text []byte, variables Variables) (*Rendered, error) {
	source := string(text)
	if !HasTemplates(text) {
		return &Rendered{Text: text}, nil
	}
	tags, err := tagsOf(file, source)
	if err != nil {
		return nil, err
	}
	clock := variables.Now
	if clock == nil {
		clock = time.Now
	}
	values := functions(clock)
	values["get_env"] = getEnv(variables.Env)
	if variables.Key != "" {
		values["key"] = variables.Key
	}
	if variables.Branch != "" {
		values["git_branch"] = variables.Branch
	}
	out, err := fill(mark(source), values)
	if err != nil {
		return nil, templateError(file, source, err, failing(source, tags, values))
	}
	return unmark(out), nil
}

// fill fills a template in. The library panics at some of what is no template.
func fill(source string, values map[string]any) (out string, err error) {
	defer func() {
		if wrong := recover(); wrong != nil {
			err = fmt.Errorf("this is no template: %v", wrong)
		}
	}()
	template, err := parseTemplate(source)
	if err != nil {
		return "", err
	}
	g := &guard{left: map[int]*exec.Value{}}
	g.on(template)
	values = maps.Clone(values)
	maps.Copy(values, g.functions())
	return template.ExecuteToString(exec.NewContext(values))
}

func parseTemplate(source string) (*exec.Template, error) {
	c := config.New()
	c.StrictUndefined = true
	c.KeepTrailingNewline = true
	const name = "configuration"
	loader, err := loaders.NewShiftedLoader(name, strings.NewReader(source), loaders.MustNewMemoryLoader(nil))
	if err != nil {
		return nil, err
	}
	return exec.NewTemplate(name, c, loader, &exec.Environment{
		Context: exec.EmptyContext(), Filters: filters, Tests: tests,
		ControlStructures: structures, Methods: methods,
	})
}

// A line of the text may come from another line of the file, when a condition
// leaves lines out. So each line that does not begin inside a template is
// marked with its number, in characters that no configuration holds.
const (
	markBegin = "\x01"
	markEnd   = "\x02"
)

func mark(source string) string {
	var out strings.Builder
	inside := ""
	for i, line := range strings.SplitAfter(source, "\n") {
		if inside == "" {
			fmt.Fprintf(&out, "%s%d%s", markBegin, i+1, markEnd)
		}
		out.WriteString(line)
		inside = openTemplate(inside, line)
	}
	return out.String()
}

// openTemplate is what closes the template that is still open after a line;
// empty where none is.
func openTemplate(inside, line string) string {
	for {
		if inside != "" {
			_, after, closed := strings.Cut(line, inside)
			if !closed {
				return inside
			}
			line, inside = after, ""
		}
		at := -1
		for begin, end := range map[string]string{"{{": "}}", "{%": "%}", "{#": "#}"} {
			if i := strings.Index(line, begin); i >= 0 && (at < 0 || i < at) {
				at, inside = i, end
			}
		}
		if at < 0 {
			return ""
		}
		line = line[at+2:]
	}
}

var marker = regexp.MustCompile(markBegin + `(\d+)` + markEnd)

func unmark(out string) *Rendered {
	r := &Rendered{}
	var text bytes.Buffer
	current := 1
	for line := range strings.SplitAfterSeq(out, "\n") {
		// The last mark before the first character counts: marks of lines that
		// were left out may stand before it.
		if marks := marker.FindAllStringSubmatch(line, -1); len(marks) > 0 {
			current, _ = strconv.Atoi(marks[len(marks)-1][1])
		}
		r.lines = append(r.lines, current)
		text.WriteString(marker.ReplaceAllString(line, ""))
		current++
	}
	r.Text = text.Bytes()
	return r
}
