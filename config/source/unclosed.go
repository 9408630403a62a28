package source

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	templateOpening = regexp.MustCompile(`\{\{|\{%|\{#`)
	templateRawEnd  = regexp.MustCompile(`\{%[-+]?\s*endraw\b`)
	templateBlock   = regexp.MustCompile(`^\{%[-+]?\s*(if|for|set|block|macro|filter|with|raw|end[a-z]+)\b([^=]*)`)
)

// unclosed is an *Error of a template, or of a condition or loop, that has no end:
// the library gives no line of one, or one after the file's end.
func unclosed(file, source string) error {
	line := func(at int) int { return 1 + strings.Count(source[:at], "\n") }
	wrong := func(at int, expression, what string) error {
		return &Error{File: file, Line: line(at), What: fmt.Sprintf("in %s: %s", expression, what), Advice: templateAdvice}
	}
	type block struct {
		at                int
		expression, ended string
	}
	var open []block
	for at := 0; ; {
		opening := templateOpening
		if len(open) > 0 && open[len(open)-1].ended == "endraw" {
			opening = templateRawEnd // nothing else means anything before it
		}
		begin := opening.FindStringIndex(source[at:])
		if begin == nil {
			break
		}
		at += begin[0]
		end := map[byte]string{'{': "}}", '%': "%}", '#': "#}"}[source[at+1]]
		length := strings.Index(source[at+2:], end)
		if length < 0 {
			first, _, _ := strings.Cut(source[at:], "\n")
			return wrong(at, strings.TrimSpace(first), "there is no "+end+" that ends it")
		}
		expression := source[at : at+2+length+2]
		if found := templateBlock.FindStringSubmatch(expression); found != nil {
			switch kind := found[1]; {
			case len(open) > 0 && kind == open[len(open)-1].ended:
				open = open[:len(open)-1]
			case !strings.HasPrefix(kind, "end") && (kind != "set" || !strings.Contains(expression, "=")):
				open = append(open, block{at, strings.Join(strings.Fields(expression), " "), "end" + kind})
			}
		}
		at += len(expression)
	}
	if len(open) > 0 {
		last := open[len(open)-1]
		return wrong(last.at, last.expression, "there is no {% "+last.ended+" %} that ends it")
	}
	return nil
}
