package command

import (
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelpWidth: no line of any command's help is wider than the terminal, but for
// examples, which are copied; and what is said is the same at every width.
func TestHelpWidth(t *testing.T) {
	words := map[string]string{}
	for _, width := range []int{60, 80, 120} {
		t.Setenv("COLUMNS", strconv.Itoa(width))
		widest := 0
		for _, cmd := range everyCommand(NewCmdRoot(&Factory{Out: io.Discard, Err: io.Discard})) {
			help := helpOf(t, cmd)
			examples := strings.Split(cmd.Example, "\n")
			for line := range strings.SplitSeq(help, "\n") {
				if len(line) > width && !contains(examples, line) {
					t.Errorf("at %d columns, %s: %q", width, cmd.CommandPath(), line)
				}
				widest = max(widest, len(line))
			}
			said := strings.Join(strings.Fields(help), " ")
			if last := words[cmd.CommandPath()]; last != "" && last != said {
				t.Errorf("%s says something else at %d columns", cmd.CommandPath(), width)
			}
			words[cmd.CommandPath()] = said
		}
		if widest < width*9/10 {
			t.Errorf("of %d columns %d are used", width, widest)
		}
	}
}

func contains(lines []string, line string) bool {
	for _, one := range lines {
		if strings.TrimSpace(one) == strings.TrimSpace(line) {
			return true
		}
	}
	return false
}

// everyCommand is a command and all below it that a person sees.
func everyCommand(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			all = append(all, everyCommand(sub)...)
		}
	}
	return all
}

func helpOf(t *testing.T, cmd *cobra.Command) string {
	t.Helper()
	var out strings.Builder
	cmd.SetOut(&out)
	if err := cmd.Help(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestProse: paragraphs are broken, and a table's lines hang below its last column.
func TestProse(t *testing.T) {
	const text = "One two\nthree four.\n\nCodes:\n  1     nothing at all\n  12    more"
	for width, want := range map[int]string{
		12: "One two\nthree four.\n\nCodes:\n  1     nothing\n        at\n        all\n  12    more",
		20: "One two three four.\n\nCodes:\n  1     nothing at\n        all\n  12    more",
	} {
		if got := prose(text, width); got != want {
			t.Errorf("at %d columns:\n%s\nwant:\n%s", width, got, want)
		}
	}
}
