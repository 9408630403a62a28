package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/solo"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// NewCmdEnd ends a session, one's own or another's.
func NewCmdEnd(f *Factory) *cobra.Command {
	var in place
	var force bool
	cmd := &cobra.Command{
		Use:   "end SESSION|TARGET",
		Short: "End a session, from any machine, and wait until its target is back",
		Long: `Ends a session and waits until the operator has put its target back. The
process that runs for it on its owner's machine is ended there. A target stands
for the session that it has, where that is one.

Your own session can be ended from any machine. That of somebody else asks for
--force, and for the right "end" on sessions, which the ClusterRole
understudy-admin has: its owner loses what they are in the middle of.`,
		Example: `  # What stands in for deployment/worker, whoever has started it
  understudy end deployment/worker

  # One by its name, as understudy sessions shows it
  understudy end worker-x7k2p

  # Somebody else's, who has gone home
  understudy end worker-x7k2p -n shop --force`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return failure.New("which there are is shown by: understudy sessions",
					"understudy end: it takes the name of one session, or its target, as in: understudy end worker-x7k2p")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return endSession(cmd, f.show(f.asked, false), &in, args[0], force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "end it though it is somebody else's")
	in.flags(cmd, "session")
	completeSession(cmd, true)
	return cmd
}

// named is the session of that name, or of that target.
func named(ctx context.Context, client *session.Client, all everyone, name string) (*v1alpha1.Session, error) {
	name = bareName(name)
	if !strings.Contains(name, "/") {
		return find(ctx, client, all, name)
	}
	ref, err := target.Parse(name)
	if err != nil {
		return nil, err
	}
	alone, _ := all.without(ctx) // what is not known is not found
	for i := range alone {
		if of := alone[i].Spec.Target; of.Group == ref.Group && of.Resource == ref.Resource && of.Name == ref.Name {
			return &alone[i], nil
		}
	}
	found, err := client.FindFor(ctx, ref)
	if errors.Is(err, session.ErrNotInstalled) {
		ref.Container = ""
		return nil, failure.New("which there are is shown by: understudy sessions", "there is no session for %s in namespace %s", ref, client.Namespace)
	}
	return found, err
}

// find is the session of that name, whoever keeps it.
func find(ctx context.Context, client *session.Client, all everyone, name string) (*v1alpha1.Session, error) {
	alone, _ := all.without(ctx) // what is not known is not found
	for i := range alone {
		if alone[i].Name == name {
			return &alone[i], nil
		}
	}
	return client.Find(ctx, name)
}

func endSession(cmd *cobra.Command, out *progress.Printer, in *place, name string, force bool) error {
	ctx := cmd.Context()
	client, reach, err := in.client(cmd)
	if err != nil {
		return err
	}
	found, err := named(ctx, client, in.everyone(client), name)
	if err != nil {
		return unanswered(reach, err, "; nothing was changed")
	}
	name = found.Name
	me, err := client.Username(ctx)
	if err != nil {
		return err
	}
	if whose := found.Spec.Owner.Username; whose != me {
		mayEnd := client.MayEnd
		if solo.Is(found) {
			mayEnd = func(ctx context.Context, s *v1alpha1.Session) error { return solo.MayStop(ctx, client, s) }
		}
		if err := mayEnd(ctx, found); err != nil {
			return err
		}
		if !force {
			return failure.New("who ends it all the same takes what they are in the middle of from them: --force",
				"session %s belongs to %s%s", name, whose, at(found.Spec.Owner.Hostname))
		}
	}
	if solo.Is(found) {
		return endAlone(ctx, out, client, found, owner(me))
	}
	if err := client.SayFarewell(ctx, found, owner(me)); err != nil {
		out.Detail("%v", err) // a courtesy: there may be no Lease yet, or no right to it
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
	of := found.Spec.Target
	step.Done(finale(state, target.Ref{Group: of.Group, Resource: of.Resource, Name: of.Name}.String()))
	return nil
}

// endAlone ends a freeze that no operator keeps.
func endAlone(ctx context.Context, out *progress.Printer, client *session.Client, found *v1alpha1.Session, by v1alpha1.Owner) error {
	pod := "pod/" + found.Spec.Target.Name
	step := out.Step("ending session " + found.Name)
	defer step.Done("")
	proof, err := solo.Stop(ctx, client, found, by, step.Wait)
	if known := (*failure.Failure)(nil); errors.As(err, &known) {
		return err
	}
	if err != nil {
		return &failure.Failure{What: fmt.Sprintf("session %s was not seen to end", found.Name), Err: err,
			Hint: fmt.Sprintf("its agent thaws by itself when it is told to end, and when its lease has run out; see: kubectl get pod %s -n %s", found.Name, found.Namespace)}
	}
	step.Done(fmt.Sprintf("%s: the container runs on where it stood: %s", pod, proof))
	return nil
}

func at(host string) string {
	if host == "" {
		return ""
	}
	return " (on " + host + ")"
}
