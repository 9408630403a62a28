package plan

import (
	"fmt"
	"strings"

	"understudy.dev/understudy/cli/progress"
)

// sections are the findings as a person reads them.
var sections = []struct {
	severity Severity
	title    string
}{
	{Blocks, "In your way:"}, {Warns, "Be careful:"}, {Notes, "Worth knowing:"},
}

// width is where lines end.
const width = 100

// Text is the plan for a person: steps and lists that can be checked one by one.
func (p Plan) Text() string {
	var out strings.Builder
	list := func(title string, n int, item func(int) (mark, text, do string)) {
		if n == 0 {
			return
		}
		fmt.Fprintf(&out, "%s\n", title)
		for i := range n {
			mark, text, do := item(i)
			hang(&out, "  "+mark+" ", text)
			// Several that are mended by one thing say so once.
			if i+1 < n {
				if _, _, next := item(i + 1); next == do {
					continue
				}
			}
			for _, line := range strings.Split(do, "\n") {
				if line != "" {
					hang(&out, strings.Repeat(" ", 3+len(mark))+"→ ", line)
				}
			}
		}
		fmt.Fprintln(&out)
	}
	list("Until your process starts:", len(p.Before), func(i int) (string, string, string) { return fmt.Sprintf("%d.", i+1), p.Before[i], "" })
	list("When it has ended, however it ends:", len(p.AtEnd), func(i int) (string, string, string) { return fmt.Sprintf("%d.", i+1), p.AtEnd[i], "" })
	for _, section := range sections {
		var some []Finding
		for _, finding := range p.Findings {
			if finding.Severity == section.severity {
				some = append(some, finding)
			}
		}
		list(section.title, len(some), func(i int) (string, string, string) { return "-", some[i].Says, some[i].Do })
	}
	list("Could not be looked at:", len(p.Unseen), func(i int) (string, string, string) {
		return "-", p.Unseen[i].What + ": " + p.Unseen[i].Why, ""
	})
	if p.Blocked {
		fmt.Fprintln(&out, "Something is in your way: no session would come about like this. Nothing was changed.")
	} else {
		fmt.Fprintln(&out, "Nothing is in your way that could be seen from here. Nothing was changed.")
	}
	return out.String()
}

// hang breaks a text into lines of which all but the first are indented below
// the label. A cluster's own words may have anything in them.
func hang(out *strings.Builder, label, text string) {
	indent := len([]rune(label))
	at := indent
	out.WriteString(label)
	for i, word := range strings.Fields(progress.Harmless(strings.ReplaceAll(text, "\n", " "))) {
		switch size := len([]rune(word)); {
		case i == 0:
			at += size
		case at+1+size > width:
			out.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent + size
		default:
			out.WriteByte(' ')
			at += 1 + size
		}
		out.WriteString(word)
	}
	out.WriteByte('\n')
}
