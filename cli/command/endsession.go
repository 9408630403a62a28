package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/config"
)

// NewCmdEnd ends a session, one's own or another's.
func NewCmdEnd(f *Factory) *cobra.Command {
	var in place
	var force bool
	cmd := &cobra.Command{
		Use:   "end SESSION",
		Short: "End a session, from any machine, and wait until its target is back",
		Long: `Ends a session and waits until the operator has put its target back. The
process that runs for it on its owner's machine is ended there.

Your own session can be ended from any machine. That of somebody else asks for
--force, and for the right "end" on sessions, which the ClusterRole
understudy-admin has: its owner loses what they are in the middle of.`,
		Example: `  understudy end worker-x7k2p
  understudy end worker-x7k2p -n shop --force`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("it takes the name of one session, as in: understudy end worker-x7k2p")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return endSession(cmd.Context(), f.Progress(false), &in.Config, bareName(args[0]), force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "end it though it is somebody else's")
	in.flags(cmd, "session")
	completeSession(cmd, &in)
	return cmd
}

func endSession(ctx context.Context, out *progress.Printer, c *config.Config, name string, force bool) error {
	client, reach, err := connect(c)
	if err != nil {
		return err
	}
	found, err := client.Find(ctx, name)
	if err != nil {
		return unanswered(reach, err, "; nothing was changed")
	}
	me, err := client.Username(ctx)
	if err != nil {
		return err
	}
	if owner := found.Spec.Owner.Username; owner != me {
		if err := client.MayEnd(ctx, found); err != nil {
			return err
		}
		if !force {
			return failure.New("who ends it all the same takes what they are in the middle of from them: --force",
				"session %s belongs to %s%s", name, owner, at(found.Spec.Owner.Hostname))
		}
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	follow := client.Follow(found)
	ended := make(chan struct{})
	go func() { defer close(ended); follow.Run(following) }()
	step := out.Step("ending session " + name)
	defer step.Done("")
	state, err := client.End(ctx, follow, step.Wait)
	stop()
	<-ended
	if err != nil {
		return &failure.Failure{What: fmt.Sprintf("session %s was not seen to end", name), Err: err,
			Hint: "the cluster goes on by itself; without an operator an administrator puts workloads back: understudy restore"}
	}
	step.Done(finale(state, found.Spec.Target.Resource+"/"+found.Spec.Target.Name))
	return nil
}

func at(host string) string {
	if host == "" {
		return ""
	}
	return " (on " + host + ")"
}
