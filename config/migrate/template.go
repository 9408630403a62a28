package migrate

import (
	"fmt"
	"regexp"
	"strings"

	"understudy.dev/understudy/config/source"
)

// hidden is a text whose templates are replaced by words that every format
// takes for part of a string, or by comments.
type hidden struct {
	text      string
	templates map[string]string // by what stands for them
}

var (
	expression = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	statement  = regexp.MustCompile(`(?s)\{%.*?%\}|\{#.*?#\}`)
)

// hide takes the templates out of a text.
func hide(text string, format source.Format) hidden {
	h := hidden{templates: map[string]string{}}
	stand := func(pattern string) func(string) string {
		return func(template string) string {
			word := fmt.Sprintf(pattern, len(h.templates)+1)
			h.templates[word] = template
			return word
		}
	}
	pattern := "#understudy-template-%d-"
	if format == source.JSON {
		pattern = "/*understudy-template-%d-*/"
	}
	text = statement.ReplaceAllStringFunc(text, stand(pattern))
	h.text = expression.ReplaceAllStringFunc(text, stand("understudy-template-%d-"))
	return h
}

// show puts the templates back.
func (h hidden) show(text string) string {
	// Words never contain one another: each ends with a dash.
	for word, template := range h.templates {
		text = strings.ReplaceAll(text, word, template)
	}
	return text
}
