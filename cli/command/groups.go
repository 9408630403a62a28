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

// usageWidth is where the text of flags is wrapped; 80 columns would leave half
// of them for the names.
const usageWidth = 110

// groupFlags has the help of a command show its flags by what they are about.
func groupFlags(cmd *cobra.Command) {
	const together = "Flags:\n{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}"
	cmd.SetUsageTemplate(strings.Replace(cmd.UsageTemplate(), together, "{{groupedFlags .LocalFlags}}", 1))
}

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
		fmt.Fprintf(&out, "%s:\n%s\n", group, some.FlagUsagesWrapped(usageWidth))
	}
	return strings.TrimRight(out.String(), "\n")
}
