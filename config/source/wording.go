package source

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"understudy.dev/understudy/config/decision"
)

const templateAdvice = "a configuration file is a template before anything else: see docs/configuration.md"

var (
	// The library quotes what it cannot read, the mark of a line with it.
	quotedMarker = regexp.MustCompile(`\\x01\d*(\\x02)?`)
	templateLine = regexp.MustCompile(`(?i)line[ :=]+(\d+)`)
	templateName = regexp.MustCompile(`Unable to evaluate name "\s*([^"]+)"`)
	// templateUnknown and templateCalled are what there is not.
	templateUnknown = regexp.MustCompile(`^(filter|test) "([^"]*)" not found$`)
	templateCalled  = regexp.MustCompile(`^(\S+) is not callable$`)
	templateBegun   = regexp.MustCompile(`^Unable to parse controlStructure "[a-z]+": `)
)

// wordings are a person's words for the library's.
var wordings = []struct {
	library *regexp.Regexp
	person  string
}{
	{regexp.MustCompile(`^ControlStructure "(else|elif|end[a-z]+)" not found.*`), "nothing is open that it could belong to"},
	{regexp.MustCompile(`^ControlStructure "([^"]*)" not found.*`), `there is no statement "$1"`},
	{regexp.MustCompile(`^filter name must be an identifier$`), "the name of a filter is expected after |"},
	{regexp.MustCompile(`^expected either a number, string, keyword or identifier\.?$`), "a value is missing: a name, a number or a text in quotes"},
}

// templateError says in a person's words where a template is wrong: in the tag
// that is known to be, or in the library's line, which is that of the marked text,
// which has the same lines.
func templateError(file, source string, err error, in *tag) error {
	said := quotedMarker.ReplaceAllString(marker.ReplaceAllString(err.Error(), ""), "")
	e := &Error{File: file, Advice: templateAdvice}
	included := strings.Contains(said, "failed to resolve filename")
	unparsed := strings.HasPrefix(said, "failed to parse template")
	if unparsed {
		// It repeats the whole template.
		said = said[strings.LastIndex(said, "': ")+3:]
	}
	if place := templateLine.FindStringSubmatch(said); place != nil {
		e.Line, _ = strconv.Atoi(place[1])
	}
	var expression string
	if in != nil {
		e.Line, expression = in.line, in.expression()
	} else {
		expression = expressionAt(source, e.Line)
	}
	name := templateName.FindStringSubmatch(said)
	switch {
	case in != nil && strings.Contains(in.text, `\"`):
		// As when a file of JSON escapes them, which its template comes before.
		said = `quotes are not escaped in a template: write "..." or '...', without a backslash`
	case name != nil:
		said = fmt.Sprintf("there is no variable %q", name[1])
		e.Advice = `give it a value for when it is missing: {{ ` + name[1] + ` | default(value="...") }}`
		if name[1] == "git_branch" {
			said += " here: no branch of a git repository is checked out"
		}
	case included:
		said = "a template takes nothing from other files"
	case unparsed && in != nil && unquoted(in.text):
		said = "a quote is missing that ends a text"
	case unparsed:
		said, _, _ = strings.Cut(templateBegun.ReplaceAllString(said, ""), " (Line:")
		said = worded(said)
	default:
		said = worded(said[strings.LastIndex(said, ": ")+1:])
	}
	if e.What = said; expression != "" {
		e.What = fmt.Sprintf("in %s: %s", expression, said)
	}
	return e
}

func worded(said string) string {
	said = strings.TrimSpace(strings.ReplaceAll(said, "'", `"`))
	if unknown := templateUnknown.FindStringSubmatch(said); unknown != nil {
		return noSuch(unknown[1], fmt.Sprintf("%q", unknown[2]), unknown[2])
	}
	if unknown := templateCalled.FindStringSubmatch(said); unknown != nil {
		return noSuch("function", unknown[1], unknown[1])
	}
	for _, wording := range wordings {
		if wording.library.MatchString(said) {
			return wording.library.ReplaceAllString(said, wording.person)
		}
	}
	return said
}

// noSuch tells of a filter, a test or a function that there is not, and of the one
// that is nearest to it.
func noSuch(kind, shown, name string) string {
	var known []string
	switch kind {
	case "filter":
		known = slices.Concat(jinjas, slices.Collect(maps.Keys(own)), slices.Collect(maps.Keys(teras)))
	case "test":
		known = slices.Concat(jinjasTests, slices.Collect(maps.Keys(terasTests)))
	default:
		known = append(slices.Collect(maps.Keys(functions(nil))), "get_env")
	}
	slices.Sort(known)
	best, least := "", 1+max(1, len(name)/3)
	for _, candidate := range known {
		if d := decision.Distance(name, candidate); d < least {
			best, least = candidate, d
		}
	}
	said := fmt.Sprintf("there is no %s %s", kind, shown)
	switch {
	case best != "":
		said += ": did you mean " + best + "?"
	case kind == "function": // of these there are few
		said += ": there are " + strings.Join(known, ", ")
	}
	return said
}

// unquoted says whether a text begins in a tag that does not end there.
func unquoted(expression string) bool {
	var open rune
	for _, r := range expression {
		switch {
		case open != 0 && r == open:
			open = 0
		case open == 0 && (r == '"' || r == '\''):
			open = r
		}
	}
	return open != 0
}

var templateTag = regexp.MustCompile(`(?s)\{\{.*?\}\}|\{%.*?%\}`)

// expressionAt are the tags that stand in a line of the source.
func expressionAt(source string, line int) string {
	var found []string
	for _, at := range templateTag.FindAllStringIndex(source, -1) {
		first := 1 + strings.Count(source[:at[0]], "\n")
		last := 1 + strings.Count(source[:at[1]], "\n")
		if first <= line && line <= last {
			found = append(found, strings.Join(strings.Fields(source[at[0]:at[1]]), " "))
		}
	}
	return strings.Join(found, " ")
}
