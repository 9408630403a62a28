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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
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

// versions are what version finds out. As JSON or YAML it is for programs.
type versions struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Client     clientVersion `json:"client"`
	// Operator and Agent are what is installed; nil where that is not known.
	Operator *installed `json:"operator,omitempty"`
	Agent    *installed `json:"agent,omitempty"`
	// Skew is what is of another version than this program; empty for nothing.
	Skew string `json:"skew,omitempty"`
}

type clientVersion struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

type installed struct {
	Version string `json:"version,omitempty"`
	Image   string `json:"image,omitempty"`
}

// NewCmdVersion prints what this program is, and what is installed in the
// cluster.
func NewCmdVersion(f *Factory) *cobra.Command {
	var in place
	var clientOnly bool
	form := output.Of(output.Document...)
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program, and of operator and agent in the cluster",
		Long: `Prints the version of this program, and of the operator that is installed in the
cluster, with the image that it takes the agent from. Where one of them is of
another minor version, that is said on stderr. A cluster that cannot be asked, or
does not answer in 3 seconds, is a remark on stderr and no failure.`,
		Example: `  understudy version

  # Without asking a cluster
  understudy version --client

  # For a script
  understudy version -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{
				APIVersion: "cli." + v1alpha1.GroupVersion.Group + "/v1", Kind: "Versions",
				Client: clientVersion{release(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH},
			}
			if form.Is("text") { // it is there at once, whatever the cluster does
				if _, err := fmt.Fprintln(f.Out, versionLine()); err != nil {
					return err
				}
			}
			if !clientOnly {
				v.askCluster(cmd, f.Err, &in)
			}
			return v.print(f.Out, &form)
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "print this program's version only, and ask no cluster")
	outputFlag(cmd, &form)
	in.flags(cmd, "operator")
	cmd.Flags().Lookup("target-namespace").Hidden = true // the operator is the cluster's
	return cmd
}

// askCluster adds what is installed there. Why that is not known, and that it
// is of another version, are remarks.
func (v *versions) askCluster(cmd *cobra.Command, remarks io.Writer, in *place) {
	type answer struct {
		operator session.Operator
		err      error
	}
	answers := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(cmd.Context(), askOperatorFor)
	defer cancel()
	go func() { // a credential plugin does not heed ctx
		operator, err := operatorOf(ctx, cmd, in)
		answers <- answer{operator, err}
	}()
	got := answer{err: errors.New("no answer")}
	select {
	case got = <-answers:
	case <-ctx.Done():
	}
	if got.err != nil {
		_, _ = fmt.Fprintf(remarks, "the operator's version is not known: %v\n", got.err)
		return
	}
	v.Operator = &installed{Version: got.operator.Version, Image: got.operator.Image}
	if image := got.operator.AgentImage; image != "" {
		v.Agent = &installed{Version: got.operator.AgentVersion(), Image: image}
	}
	if v.Skew = got.operator.Skew(release()); v.Skew != "" {
		_, _ = fmt.Fprintf(remarks, "warning: %s\nhint:    %s\n", v.Skew, session.SkewHint)
	}
}

// print writes what is installed, or all of it.
func (v *versions) print(out io.Writer, form *output.Format) error {
	if !form.Is("text") {
		object, err := output.Object(v)
		if err != nil {
			return err
		}
		return form.Printer(out).Print(v.table(), object)
	}
	if v.Operator != nil {
		operator := session.Operator{Version: v.Operator.Version, Image: v.Operator.Image}
		if _, err := fmt.Fprintf(out, "operator   %s\n", operator); err != nil {
			return err
		}
	}
	if v.Agent != nil {
		if _, err := fmt.Fprintf(out, "agent      %s\n", v.Agent.Image); err != nil {
			return err
		}
	}
	return nil
}

// table has a row for each part whose version is known.
func (v *versions) table() *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: output.Columns("Part", "Version", "+Details")}
	table.Rows = append(table.Rows, output.Row("client", v.Client.Version, v.Client.Go+" "+v.Client.Platform))
	if v.Operator != nil {
		table.Rows = append(table.Rows, output.Row("operator", v.Operator.Version, v.Operator.Image))
	}
	if v.Agent != nil {
		table.Rows = append(table.Rows, output.Row("agent", v.Agent.Version, v.Agent.Image))
	}
	return table
}

func operatorOf(ctx context.Context, cmd *cobra.Command, in *place) (session.Operator, error) {
	client, reach, err := in.client(cmd)
	if err != nil {
		return session.Operator{}, err
	}
	operator, err := client.Operator(ctx)
	if err != nil {
		return session.Operator{}, unanswered(reach, err, "")
	}
	return operator, nil
}
