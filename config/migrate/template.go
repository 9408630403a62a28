package migrate

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/config/source"
)

// hidden is a text whose templates are replaced by words that every format
// takes for part of a string, or by comments.
type hidden struct {
	text      string
	format    source.Format
	templates map[string]string // by what stands for them
}

var (
	expression = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	statement  = regexp.MustCompile(`(?s)\{%.*?%\}|\{#.*?#\}`)
	shown      = regexp.MustCompile(`(?s)\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}`)
)

// hide takes the templates out of a text.
func hide(text string, format source.Format) hidden {
	h := hidden{format: format, templates: map[string]string{}}
	stand := func(pattern string) func(string) string {
		return func(template string) string {
			word := fmt.Sprintf(pattern, len(h.templates)+1)
			h.templates[word] = template
			return word
		}
	}
	comment := stand("#understudy-template-%d-")
	if format == source.JSON {
		comment = stand("/*understudy-template-%d-*/")
	}
	text = statement.ReplaceAllStringFunc(text, func(template string) string {
		if format == source.JSON {
			return comment(template)
		}
		return ownLine(comment(template))
	})
	h.text = expression.ReplaceAllStringFunc(text, stand("understudy-template-%d-"))
	return h
}

// ownLine ends the line behind a comment, which would hide the rest of it.
func ownLine(comment string) string { return " " + comment + "\n" }

// stands finds what stands for a template.
var stands = regexp.MustCompile(`understudy-template-\d+-`)

// filledIn is what there is to change in a text that is of its format only when
// its templates are filled in, as they would be here; empty where they cannot be.
func filledIn(name string, text []byte) string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	rendered, err := source.Render(name, text, source.Variables{Key: "key", Branch: source.Branch(dir), Env: os.LookupEnv})
	if err != nil {
		return ""
	}
	format := source.FormatOf(name)
	root, err := source.Parse(name, format, rendered.Text)
	if err != nil {
		return ""
	}
	m, err := look(name, format, rendered.Text, root)
	if err != nil {
		return ""
	}
	return m.list()
}

// show puts the templates back.
func (h hidden) show(text string) string {
	// Words never contain one another: each ends with a dash.
	for word, template := range h.templates {
		if h.format == source.TOML && strings.HasPrefix(word, "#") {
			text = strings.ReplaceAll(text, ownLine(word), template)
		}
		text = strings.ReplaceAll(text, word, template)
	}
	return text
}

// statements says whether a text has conditions, loops or the like.
func statements(text string) bool { return strings.Contains(text, "{%") }

// check says why a text cannot stand for the one that it was made of: each
// template must be there as before, and what it comes to here must be the same.
func check(name string, before, after []byte) error {
	if !slices.Equal(shown.FindAllString(string(before), -1), shown.FindAllString(string(after), -1)) {
		return errors.New("its templates would not all stand where they stood")
	}
	was, wrongBefore, err := config.Alone(name, before)
	if err != nil {
		return fmt.Errorf("what it means cannot be compared: %w", err)
	}
	now, wrongAfter, err := config.Alone(name, after)
	if err != nil {
		return fmt.Errorf("it could not be read again: %w", err)
	}
	for _, c := range []*config.Config{was, now} {
		c.Notices = nil
		c.Target = longKind(c.Target)
	}
	for _, p := range wrongAfter { // what was wrong with something that goes is gone with it
		if !slices.ContainsFunc(wrongBefore, func(q *config.Problem) bool { return p.What == q.What }) {
			return errors.New("it would mean something else")
		}
	}
	if !reflect.DeepEqual(was, now) {
		return errors.New("it would mean something else")
	}
	return nil
}
