package command

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagGroup is a part of the flags in a command's help.
type flagGroup struct {
	title string
	names []string
}

// execGroups are the flags of exec as its help shows them, the ones that
// somebody needs first. What is in none of them comes last.
var execGroups = []flagGroup{
	{"The target, and what becomes of it", []string{"target", "target-namespace", "copy-target", "scale-down", "pause", "share-traffic", "restart-ok", "steal"}},
	{"What the command gets", []string{
		"listen", "env-file", "override-env-vars-include", "override-env-vars-exclude", "fs-mode",
		"no-outgoing", "no-tcp-outgoing", "no-udp-outgoing", "no-remote-dns",
	}},
	{"How long", []string{"lease", "setup-timeout"}},
	{"The configuration", []string{"config-file", "key"}},
	{"The cluster", []string{"context", "kubeconfig", "accept-invalid-certificates"}},
}

// usageWidth is where the text of flags is wrapped; an 80-column terminal would
// leave half of it for the names.
const usageWidth = 110

// inGroups has a command's help show its flags in groups.
func inGroups(cmd *cobra.Command, groups []flagGroup) {
	cmd.SetUsageFunc(func(cmd *cobra.Command) error {
		var text strings.Builder
		fmt.Fprintf(&text, "Usage:\n  %s\n\nExamples:\n%s\n", cmd.UseLine(), cmd.Example)
		rest := pflag.NewFlagSet("rest", pflag.ContinueOnError)
		rest.AddFlagSet(cmd.Flags())
		for _, group := range groups {
			flags := pflag.NewFlagSet(group.title, pflag.ContinueOnError)
			flags.SortFlags = false
			for _, name := range group.names {
				if flag := cmd.Flags().Lookup(name); flag != nil {
					flags.AddFlag(flag)
				}
			}
			writeFlags(&text, group.title, flags)
			rest = without(rest, flags)
		}
		writeFlags(&text, "Other", rest)
		_, err := fmt.Fprint(cmd.OutOrStdout(), text.String())
		return err
	})
}

func writeFlags(text *strings.Builder, title string, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		fmt.Fprintf(text, "\n%s:\n%s", title, flags.FlagUsagesWrapped(usageWidth))
	}
}

// without are the flags of a set that are not in another one.
func without(all, shown *pflag.FlagSet) *pflag.FlagSet {
	left := pflag.NewFlagSet("left", pflag.ContinueOnError)
	all.VisitAll(func(flag *pflag.Flag) {
		if shown.Lookup(flag.Name) == nil {
			left.AddFlag(flag)
		}
	})
	return left
}
