package command

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is set when this program is built (-ldflags "-X ...").
var Version = ""

// release is the version of this program: what it was built as, else what the
// module system knows.
func release() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}

// NewCmdVersion prints what this program is.
func NewCmdVersion(f *Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(f.Out, "understudy %s %s %s/%s\n", release(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
