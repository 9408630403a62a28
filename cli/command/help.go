package command

import (
	"cmp"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const (
	// usualWidth is that of help which goes to no terminal, and the most that prose
	// takes: longer lines are hard to read.
	usualWidth = 80
	// mostWidth is the most that the text of flags and commands takes.
	mostWidth = 120
	// leastWidth is what no text can be broken to.
	leastWidth = 40
)

func init() {
	cobra.AddTemplateFunc("prose", func(text string) string { return prose(text, min(helpWidth(), usualWidth)) })
	cobra.AddTemplateFunc("hanging", func(text string) string { return hang("  ", "      ", text, helpWidth()) })
	cobra.AddTemplateFunc("listed", func(name string, padding int, short string) string {
		head := "  " + name + strings.Repeat(" ", max(padding-len(name), 0)) + " "
		return hang(head, strings.Repeat(" ", len(head)), short, helpWidth())
	})
}

// helpWidth is how wide help may be: as COLUMNS says, or the terminal to which it
// goes. Where it goes to a pager the errors still go there.
func helpWidth() int {
	width, _ := strconv.Atoi(os.Getenv("COLUMNS")) // 0 for what is no number
	for _, file := range []*os.File{os.Stdout, os.Stderr} {
		if width <= 0 {
			width, _, _ = term.GetSize(int(file.Fd())) // 0 for no terminal
		}
	}
	return min(max(cmp.Or(max(width, 0), usualWidth), leastWidth), mostWidth)
}

// helpTemplate and usageTemplate are cobra's own, as wide as the terminal is.
// Examples are left to the terminal: who copies one gets one line.
const (
	helpTemplate  = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces | prose}}` + "\n\n" + `{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`
	usageTemplate = `Usage:{{if .Runnable}}
{{hanging .UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} [command]{{end}}{{if gt (len .Aliases) 0}}

Aliases:
  {{.NameAndAliases}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Available Commands:{{range $cmds}}{{if (or .IsAvailableCommand (eq .Name "help"))}}
{{listed .Name .NamePadding .Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help")))}}
{{listed .Name .NamePadding .Short}}{{end}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

{{groupedFlags .LocalFlags}}{{end}}{{if .HasAvailableSubCommands}}

{{printf "Use \"%s [command] --help\" for more information about a command." .CommandPath | prose}}{{end}}
`
)

// prose breaks the paragraphs of a text at the width. A line that is indented stands
// for itself, and what is left of it goes below its last column.
func prose(text string, width int) string {
	var out, paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, hang("", "", strings.Join(paragraph, " "), width))
		}
		paragraph = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		inner := strings.TrimLeft(line, " ")
		switch indent := len(line) - len(inner); {
		case inner == "":
			flush()
			out = append(out, "")
		case indent == 0:
			paragraph = append(paragraph, line)
		default:
			flush()
			// A table's last column begins after two blanks or more.
			if gap := strings.LastIndex(inner, "  "); gap >= 0 {
				indent += gap + 2
			}
			out = append(out, hang(line[:indent], strings.Repeat(" ", indent), line[indent:], width))
		}
	}
	flush()
	return strings.Join(out, "\n")
}

// hang breaks a text into lines, the first with a head before it and the others with
// what is below that.
func hang(head, below, text string, width int) string {
	var out strings.Builder
	out.WriteString(head)
	at := len(head) - strings.LastIndex(head, "\n") - 1
	for i, word := range strings.Fields(text) {
		switch size := len([]rune(word)); {
		case i == 0:
			at += size
		case at+1+size > width:
			out.WriteString("\n" + below)
			at = len(below) + size
		default:
			out.WriteByte(' ')
			at += 1 + size
		}
		out.WriteString(word)
	}
	return out.String()
}
