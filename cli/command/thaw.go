package command

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/thaw"
	"understudy.dev/understudy/config"
)

// NewCmdThaw thaws by hand.
func NewCmdThaw(f *Factory) *cobra.Command {
	// What lies where an administrator works chooses no cluster for a tool like this one.
	in := place{found: config.FoundNot}
	var o thaw.Options
	cmd := &cobra.Command{
		Use:   "thaw (--pod NAME | --node NAME)",
		Short: "Thaw what is frozen of a pod or on a node, where nothing else does",
		Long: `Ends the agents that hold a pod, or all of a node, and then has one that does
nothing else thaw what is frozen still and take the rules away. What is frozen is
thawed by itself when its session ends, however it ends; this is for the day on
which that does not happen. On a node, what is frozen without a record that
Understudy did it is left, and named: others freeze too. Then, and where anything
else could not be undone, the exit code is not 0.

It is an administrator's tool: it makes a privileged pod on the node, in the
namespace of Understudy's agents.`,
		Example: `  # One pod that stands still though its session is over
  understudy thaw --pod worker-0 -n shop

  # Everything on a node
  understudy thaw --node node-1`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return err
			}
			client, reach, err := in.client(cmd)
			if err != nil {
				return err
			}
			out := f.show(f.asked, false)
			o.Namespace, o.Say = client.Namespace, out.Notice
			o.Begin = func(doing string) thaw.Step { return out.Step(doing) }
			// The pod that thaws is not left behind by who does not wait for it.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			said, err := thaw.Run(ctx, client.Kube, o)
			if err != nil && ctx.Err() != nil {
				return failure.New("run it again: what is frozen and what was ended is looked at anew", "interrupted; it is not known whether everything is thawed")
			}
			if err != nil {
				return unanswered(reach, forAdministrators(err), "")
			}
			out.Notice("%s", said)
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Pod, "pod", "", "pod to thaw")
	cmd.Flags().StringVar(&o.Node, "node", "", "node whose pods are all to be thawed; their sessions end")
	cmd.Flags().StringVar(&o.Agents, "agents-namespace", "", "namespace of the agents (default: what the operator's deployment says)")
	cmd.Flags().StringVar(&o.Image, "agent-image", "", "image of the agent (default: what the operator's deployment says)")
	cmd.Flags().DurationVar(&o.Timeout, "timeout", thaw.DefaultTimeout, "how long to wait for an agent to end, and for the one that thaws")
	in.flags(cmd, "pod")
	completeFlag(cmd, "pod", pods)
	completeFlag(cmd, "node", nodes)
	return cmd
}
