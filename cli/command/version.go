package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"understudy.dev/understudy/config"
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

func versionLine() string {
	return fmt.Sprintf("understudy %s %s %s/%s", release(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// askOperatorFor is how long a cluster has to say which operator it runs.
const askOperatorFor = 3 * time.Second

// NewCmdVersion prints what this program is, and what is installed in the
// cluster.
func NewCmdVersion(f *Factory) *cobra.Command {
	var c config.Config
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program and of the operator in the cluster",
		Long: `Prints the version of this program, and on a second line that of the operator
which is installed in the cluster. A cluster that cannot be asked, or does not
answer in 3 seconds, is a remark on stderr and no failure.`,
		Example: `  understudy version
  understudy version --client`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := fmt.Fprintln(f.Out, versionLine()); err != nil || clientOnly {
				return err
			}
			return printOperator(cmd.Context(), f.Out, f.Err, &c)
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "print this program's version only, and ask no cluster")
	cmd.Flags().StringVar(&c.Context, "context", "", "context of the kubeconfig (default: the current one)")
	cmd.Flags().StringVar(&c.Kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)")
	completeFlag(cmd, "context", contexts)
	return cmd
}

// printOperator writes the operator's version to out, or to remarks why there
// is none.
func printOperator(ctx context.Context, out, remarks io.Writer, c *config.Config) error {
	type answer struct {
		version string
		err     error
	}
	answers := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(ctx, askOperatorFor)
	defer cancel()
	go func() { // a credential plugin does not heed ctx
		version, err := operatorVersion(ctx, c)
		answers <- answer{version, err}
	}()
	got := answer{err: errors.New("no answer")}
	select {
	case got = <-answers:
	case <-ctx.Done():
	}
	var err error
	if got.err != nil {
		_, err = fmt.Fprintf(remarks, "the operator's version is not known: %v\n", got.err)
	} else {
		_, err = fmt.Fprintf(out, "operator   %s\n", got.version)
	}
	return err
}

func operatorVersion(ctx context.Context, c *config.Config) (string, error) {
	client, reach, err := connect(c)
	if err != nil {
		return "", err
	}
	operator, err := client.Operator(ctx)
	if err != nil {
		return "", unanswered(reach, err, "")
	}
	return operator.String(), nil
}
