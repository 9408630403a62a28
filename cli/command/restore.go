package command

import (
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/restore"
	"understudy.dev/understudy/config"
)

// forAdministrators gives a hint to whoever lacks the rights of one.
func forAdministrators(err error) error {
	if !apierrors.IsForbidden(err) || failure.Hint(err) != "" {
		return err
	}
	return &failure.Failure{Err: err, Hint: "this is an administrator's tool: ask one, or name a context that has the rights with --context"}
}

// NewCmdRestore puts workloads back without an operator.
func NewCmdRestore(f *Factory) *cobra.Command {
	// What lies where an administrator works chooses no cluster for a tool like this one.
	in := place{found: config.FoundNot}
	var force, dryRun bool
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Put held workloads back where there is no operator any more",
		Long: `Puts every held workload back, by what is written on it and in its session, and
ends the sessions. It is for the day on which the operator is gone: while it
runs, it does this by itself, and this command refuses.

It is an administrator's tool: it writes workloads of every kind and namespace,
and, where the chart's policies are still there, acts on sessions as the
operator's account, which takes the right to impersonate it. What cannot be read
is named and left as it is. It may be interrupted and run again.

With --dry-run it says what it would put back to which number and which sessions
it would end, and does nothing, beside an operator too.`,
		Example: `  # What would be put back everywhere, and nothing done
  understudy restore --all --dry-run

  # What is held in one namespace, then everything
  understudy restore -n shop
  understudy restore --all`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, reach, err := in.client(cmd)
			if err != nil {
				return err
			}
			out := f.show(f.asked, false)
			said := false
			options := restore.Options{Namespace: client.Namespace, Force: force, DryRun: dryRun, Say: func(format string, args ...any) {
				said = true
				out.Notice(format, args...)
			}}
			if err := restore.Run(cmd.Context(), reach, options); err != nil {
				return unanswered(reach, forAdministrators(err), "")
			}
			if dryRun && said {
				out.Notice("nothing was changed")
				return nil
			}
			out.Notice("nothing is held %s", in.where(client))
			return nil
		},
	}
	in.allFlag(cmd)
	cmd.Flags().Lookup("all-namespaces").Usage = "in every namespace"
	cmd.Flags().BoolVar(&in.all, "all", false, "the same as -A")
	cmd.Flags().BoolVar(&force, "force", false, "though an operator runs")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and do nothing")
	in.flags(cmd, "workloads")
	return cmd
}
