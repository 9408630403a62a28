package command

import (
	"path/filepath"
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
