package source

import (
	"fmt"
	"regexp"
	"strings"
)

// tag is one template in a text: {{ ... }}, {% ... %} or {# ... #}.
type tag struct {
	// text from the opening to the ending, both with it.
	text string
	// at is where it begins, line the line of that, from 1.
	at, line int
	// word that a {% ... %} begins with, as if or endif; empty for others.
	word string
}

// expression is the tag in one line.
func (t *tag) expression() string { return strings.Join(strings.Fields(t.text), " ") }

func (t *tag) wrong(file, what string) error {
	return &Error{File: file, Line: t.line, What: fmt.Sprintf("in %s: %s", t.expression(), what), Advice: templateAdvice}
}

var (
	tagOpening = regexp.MustCompile(`\{\{|\{%|\{#`)
	tagRawEnd  = regexp.MustCompile(`\{%[-+]?\s*endraw\b`)
	tagWord    = regexp.MustCompile(`^\{%[-+]?\s*([a-z_]+)`)
	// blocks are the statements that have an end of their own.
	blocks = regexp.MustCompile(`^(if|for|set|block|macro|filter|with|raw)$`)
)

// tagsOf are the tags of a text. Of one, or of a condition or loop, that has no
// end it is an *Error: the library gives no line of one, or one after the file's
// end.
func tagsOf(file, source string) ([]tag, error) {
	var tags, open []tag
	for at := 0; ; {
		opening := tagOpening
		if len(open) > 0 && open[len(open)-1].word == "raw" {
			opening = tagRawEnd // nothing else means anything before it
		}
		begin := opening.FindStringIndex(source[at:])
		if begin == nil {
			break
		}
		at += begin[0]
		t := tag{at: at, line: 1 + strings.Count(source[:at], "\n")}
		end := map[byte]string{'{': "}}", '%': "%}", '#': "#}"}[source[at+1]]
		length := strings.Index(source[at+2:], end)
		if length < 0 {
			t.text, _, _ = strings.Cut(source[at:], "\n")
			return nil, t.wrong(file, "there is no "+end+" that ends it")
		}
		t.text = source[at : at+2+length+2]
		if word := tagWord.FindStringSubmatch(t.text); word != nil {
			t.word = word[1]
		}
		if why := refused(t.word); why != "" {
			return nil, t.wrong(file, why)
		}
		switch {
		case len(open) > 0 && t.word == "end"+open[len(open)-1].word:
			open = open[:len(open)-1]
		case blocks.MatchString(t.word) && (t.word != "set" || !strings.Contains(t.text, "=")):
			open = append(open, t)
		}
		tags = append(tags, t)
		at += len(t.text)
	}
	if len(open) > 0 {
		last := open[len(open)-1]
		return nil, last.wrong(file, "there is no {% end"+last.word+" %} that ends it")
	}
	return tags, nil
}
