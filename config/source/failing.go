package source

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// failing is the tag by which a text cannot be filled in; nil where that cannot
// be told. The library knows a line at best, and of what is inside of a condition
// that of the condition.
func failing(source string, tags []tag, values map[string]any) *tag {
	for i := range tags {
		alone := tags[i].alone()
		if alone == "" {
			continue
		}
		if parses(alone) != nil {
			return &tags[i]
		}
	}
	if parses(source) != nil {
		return nil // it is how they stand together
	}
	// Filled in once more, with a word before each tag that notes it.
	reached := -1
	values = maps.Clone(values)
	values[reaches] = func(i int) string { reached = i; return "" }
	var noted strings.Builder
	at := 0
	for i := range tags {
		t := &tags[i]
		noted.WriteString(source[at:t.at])
		note := fmt.Sprintf("%s(%d)", reaches, i)
		switch {
		case t.word == "elif":
			noted.WriteString(elif.ReplaceAllString(t.text, "$1 "+note+" or ($2)$3"))
		case t.word == "else" || strings.HasPrefix(t.word, "end"), strings.HasPrefix(t.text, "{#"):
			noted.WriteString(t.text)
		default:
			noted.WriteString("{{ " + note + " }}" + t.text)
		}
		at = t.at + len(t.text)
	}
	noted.WriteString(source[at:])
	if _, err := fill(noted.String(), values); err == nil || reached < 0 {
		return nil
	}
	return &tags[reached]
}

// reaches is a function's name that no template has.
const reaches = "__understudy_reaches"

var elif = regexp.MustCompile(`(?s)^(\{%[-+]?\s*elif)\b(.*?)([-+]?%\})$`)

// alone is a template that is one only if the tag is; empty where the tag is one
// together with others only.
func (t *tag) alone() string {
	switch {
	case strings.HasPrefix(t.text, "{{"):
		return t.text
	case t.word == "if":
		return t.text + "{% endif %}"
	case t.word == "elif":
		return "{% if true %}" + t.text + "{% endif %}"
	case t.word == "for":
		return t.text + "{% endfor %}"
	case t.word == "set" && strings.Contains(t.text, "="):
		return t.text
	}
	return ""
}

// parses is why a text is no template; the library panics at some.
func parses(source string) (err error) {
	defer func() {
		if wrong := recover(); wrong != nil {
			err = fmt.Errorf("this is no template: %v", wrong)
		}
	}()
	_, err = parseTemplate(source)
	return err
}
