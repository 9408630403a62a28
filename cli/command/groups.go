package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"understudy.dev/understudy/config/decision"
)

func init() { cobra.AddTemplateFunc("groupedFlags", groupedFlags) }

// groupedFlags is a part of the help's template: the flags of the table in its
// groups. Those that are in none come last where a session is begun, else first.
func groupedFlags(flags *pflag.FlagSet) string {
	var out strings.Builder
	// Of a command that begins no session only the place is in a group.
	session := flags.Lookup("target") != nil
	shown := func(group string) bool {
		return group != "" && (session || group == decision.GroupTarget || group == decision.GroupRun)
	}
	groups := append(slices.Clone(decision.Groups), "")
	if !session { // what it is about are its own
		groups = append([]string{""}, decision.Groups...)
	}
	for _, group := range groups {
		some := pflag.NewFlagSet(group, pflag.ContinueOnError)
		some.SortFlags = false
		for _, row := range decision.Flags {
			if flag := flags.Lookup(row.Name); flag != nil && row.Group == group && shown(group) {
				some.AddFlag(flag)
			}
		}
		flags.VisitAll(func(flag *pflag.Flag) {
			grouped := slices.ContainsFunc(decision.Flags, func(row decision.Row) bool { return row.Name == flag.Name && shown(row.Group) })
			if group == "" && !grouped {
				some.AddFlag(flag)
			}
		})
		if !some.HasAvailableFlags() {
			continue
		}
		switch {
		case group == "":
			group = "Flags"
		case session || group != decision.GroupTarget:
		case !flags.Lookup("target-namespace").Hidden:
			group = "Which cluster and namespace"
		default:
			group = "Which cluster"
		}
		fmt.Fprintf(&out, "%s:\n%s\n", group, flagUsages(some, helpWidth()))
	}
	return strings.TrimRight(out.String(), "\n")
}

const (
	// narrow is the least that is left for the text of flags beside their names;
	// where that is not there it goes below them, this far in.
	narrow, belowFlag = 24, 10
)

// flagUsages are the flags of a set as pflag has them, broken at the width. What pflag
// itself breaks it leaves whole from a word on that is longer than its column.
func flagUsages(flags *pflag.FlagSet, width int) string {
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(flags.FlagUsages(), "\n"), "\n")
	column := 0
	for _, line := range lines { // the same in all of them
		flags.VisitAll(func(flag *pflag.Flag) {
			if _, usage := pflag.UnquoteUsage(flag); usage != "" && strings.Contains(line, " --"+flag.Name) {
				column = max(column, strings.Index(line, "   "+usage)+3)
			}
		})
	}
	for _, line := range lines {
		column := min(column, len(line))
		head, text, indent := line[:column], line[column:], strings.Repeat(" ", column)
		if width-column < narrow {
			indent = strings.Repeat(" ", belowFlag)
			head = strings.TrimRight(head, " ") + "\n" + indent
		}
		out.WriteString(hang(head, indent, text, width) + "\n")
	}
	return out.String()
}
