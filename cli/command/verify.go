package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// NewCmdVerify explains a configuration in words.
func NewCmdVerify(f *Factory) *cobra.Command {
	var offline bool
	form := output.Of(output.Document...)
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Say in a paragraph what a configuration means, or all that is wrong with it",
		Long: `Says in a paragraph what a session with this configuration would do: what happens
to the target, what your process gets, how it ends. The cluster is asked for the
target when it answers in 3 seconds. Everything that is wrong is said at once,
each thing with its line and what to do.

All flags of exec are taken, so that what a flag changes can be seen. The exit
code is 0 when exec would go on from here, and 125 when it would not. What stands
against it in the cluster is said by understudy plan.

With -o table it is all that is wrong or worth knowing, a line each; with json,
yaml or jsonpath the paragraph is there too, as "means", and "taken" is whether
exec would go on.`,
		Example: `  # The file that exec would find from here
  understudy config verify

  # Another, and what a flag would change
  understudy config verify .mirrord/mirrord.json --scale-down

  # In CI, where no cluster is to be asked
  understudy config verify .mirrord/mirrord.json --offline
  understudy config verify .mirrord/mirrord.json --offline -o jsonpath='{.problems[*].says}'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := nameFile(cmd, args); err != nil {
				return err
			}
			v := verdict{APIVersion: "cli." + v1alpha1.GroupVersion.Group + "/v1", Kind: "Verdict"}
			err := v.find(cmd, offline)
			if !form.Is("text") {
				return v.print(f.Out, &form, err)
			}
			return v.tell(f, err)
		},
	}
	config.SessionFlags(cmd.Flags())
	config.ClusterFlags(cmd.Flags())
	completeExec(cmd)
	cmd.Flags().BoolVar(&offline, "offline", false, "do not ask the cluster")
	outputFlag(cmd, &form)
	return cmd
}

// verdict is what verify says of a configuration. As JSON or YAML it is for programs.
type verdict struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Taken says whether exec would go on from here.
	Taken bool `json:"taken"`
	// File that was read; empty for none.
	File string `json:"file,omitempty"`
	// Means is the paragraph; empty where something is wrong.
	Means    string    `json:"means,omitempty"`
	Problems []mistake `json:"problems,omitempty"`
	Notices  []string  `json:"notices,omitempty"`

	// asked is whether the cluster has said something of the target.
	asked bool
}

// mistake is one thing that is wrong.
type mistake struct {
	Says string `json:"says"`
	Do   string `json:"do,omitempty"`
	// Place is where it was said, and Also where the other of two was that do not go
	// together: "FILE:LINE", a variable or a flag.
	Place string `json:"place,omitempty"`
	Also  string `json:"also,omitempty"`
}

// find finds all of it out. The error is what is wrong.
func (v *verdict) find(cmd *cobra.Command, offline bool) error {
	opts, err := asked(cmd)
	if opts == nil {
		return err
	}
	c := opts.Config
	v.File, v.Notices = c.File, c.Notices
	if err != nil {
		return err
	}
	var facts config.Facts
	if !offline {
		said := askTarget(cmd.Context(), c, opts.Target)
		switch {
		case said.against != nil:
			return said.against
		case said.err != nil:
			v.Notices = append(v.Notices, fmt.Sprintf("the cluster was not asked: %v", said.err))
		default:
			facts, c.Takeover, c.Paused = factsOf(said.target), said.takeover, false
			v.Notices = append(v.Notices, said.target.Notices...)
		}
	}
	v.Taken, v.Means, v.asked = true, c.Explain(facts), facts.Namespace != ""
	return nil
}

// tell says it to a person: the paragraph is what was asked for, the rest is beside.
func (v *verdict) tell(f *Factory, err error) error {
	var said strings.Builder
	if v.File != "" {
		fmt.Fprintf(&said, "configuration: %s\n", v.File)
	}
	for _, notice := range v.Notices {
		fmt.Fprintf(&said, "notice: %s\n", notice)
	}
	if _, out := io.WriteString(f.Err, said.String()); out != nil {
		return out
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f.Out, wrap(v.Means)); err != nil || !v.asked {
		return err
	}
	_, err = fmt.Fprintln(f.Err, "notice: what stands against it in the cluster is said by: understudy plan, with the same flags")
	return err
}

// print has all of it on stdout, what is wrong too.
func (v *verdict) print(out io.Writer, form *output.Format, wrong error) error {
	var problems config.Problems
	switch {
	case errors.As(wrong, &problems):
		for _, p := range problems {
			v.Problems = append(v.Problems, mistake{Says: p.What, Do: p.Advice, Place: p.Place, Also: p.Also})
		}
	case wrong != nil:
		v.Problems = append(v.Problems, mistake{Says: wrong.Error(), Do: failure.Hint(wrong)})
	}
	table := &metav1.Table{ColumnDefinitions: output.Columns("Kind", "Place", "Says", "+Do")}
	line := func(cells ...string) {
		for i := range cells {
			cells[i] = progress.Harmless(strings.ReplaceAll(cells[i], "\n", "; "))
		}
		table.Rows = append(table.Rows, output.Row(cells...))
	}
	for _, p := range v.Problems {
		line("problem", p.Place, p.Says, p.Do)
	}
	for _, notice := range v.Notices {
		line("notice", "", notice, "")
	}
	object, err := output.Object(v)
	if err == nil {
		err = form.Printer(out).Print(table, object)
	}
	if err == nil && wrong != nil {
		return quiet{failure.Code(wrong)}
	}
	return err
}

// askTargetFor is how long a cluster may take to say something of a target.
const askTargetFor = 3 * time.Second

// saying is what a cluster says of a target.
type saying struct {
	target   *target.Target
	takeover config.Takeover
	// against is why exec would not go on from here, err why nothing is known.
	against, err error
}

// askTarget finds the target, and what a pause or a freeze of it comes to, as
// exec does.
func askTarget(ctx context.Context, c *config.Config, ref target.Ref) saying {
	ctx, cancel := context.WithTimeout(ctx, askTargetFor)
	defer cancel()
	sayings := make(chan saying, 1)
	go func() { // a credential plugin does not heed ctx
		client, _, err := connect(c)
		if err != nil {
			sayings <- saying{err: err}
			return
		}
		var said saying
		opts := &ExecOptions{Config: c, Target: ref}
		if said.target, said.takeover, err = resolve(ctx, client, opts, !freezesAlone(ctx, client, c)); err != nil {
			var known *failure.Failure
			var wrong *config.Problem
			if errors.As(err, &known) || errors.As(err, &wrong) {
				said.against = err
			} else {
				said.err = err
			}
		}
		sayings <- said
	}()
	select {
	case said := <-sayings:
		return said
	case <-ctx.Done():
		return saying{err: errors.New("no answer")}
	}
}
