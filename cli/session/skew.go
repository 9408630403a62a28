package session

import (
	"fmt"
	"strconv"
	"strings"
)

// SkewHint is what to do about a Skew.
const SkewHint = "let all three be of one minor version: an administrator upgrades the chart, or you this program"

// Skew says which of operator and agent are of another minor version than a
// client of that release; empty where none is known to be. An agent of another
// version of the tunnel refuses its client, and says so.
func (o Operator) Skew(release string) string {
	ours := minorOf(release)
	var others []string
	for _, part := range []struct{ name, version string }{{"the operator is", o.Version}, {"the agent is", tagOf(o.AgentImage)}} {
		if theirs := minorOf(part.version); ours != "" && theirs != "" && theirs != ours {
			others = append(others, part.name+" of "+theirs)
		}
	}
	if len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("%s, and this understudy of %s", strings.Join(others, ", "), ours)
}

// AgentVersion is the agent's, where its image's tag is one.
func (o Operator) AgentVersion() string {
	if tag := tagOf(o.AgentImage); minorOf(tag) != "" {
		return tag
	}
	return ""
}

// minorOf is "1.2" of "v1.2.3-4-gabc"; empty for what is no version.
func minorOf(text string) string {
	parts := strings.SplitN(strings.TrimPrefix(text, "v"), ".", 3)
	if len(parts) < 3 {
		return ""
	}
	for _, part := range parts[:2] {
		if _, err := strconv.Atoi(part); err != nil {
			return ""
		}
	}
	return parts[0] + "." + parts[1]
}

// tagOf is an image's tag; empty where it has none.
func tagOf(image string) string {
	name, _, _ := strings.Cut(image, "@")
	_, tag, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	return tag
}
