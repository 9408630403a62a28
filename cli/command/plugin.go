package command

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// The names by which kubectl finds this program, as links to it: a plugin, and
// what completes the plugin's words.
const (
	pluginName     = "kubectl-understudy"
	completionName = "kubectl_complete-understudy"
)

// calledAs makes of the path by which this program was called, and its
// arguments, the name that help shows (empty for its own) and the arguments that
// are meant.
func calledAs(path string, args []string) (shown string, meant []string) {
	switch strings.TrimSuffix(filepath.Base(path), ".exe") {
	case pluginName:
		return "kubectl understudy", args
	case completionName:
		return "", append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	return "", args
}

// typedAs has the examples of a command, and of those below it, as they are typed where
// this program has another name: the one that they are written with may not be there.
func typedAs(cmd *cobra.Command, shown string) {
	// Completion loads what the program itself completes, under its own name.
	if cmd.Name() != "completion" {
		cmd.Example = atItsBeginning.ReplaceAllString(cmd.Example, "${1}"+shown+" ")
		for _, sub := range cmd.Commands() {
			typedAs(sub, shown)
		}
	}
}

// atItsBeginning is the program's name where a line of examples begins.
var atItsBeginning = regexp.MustCompile(`(?m)^( *)understudy `)
