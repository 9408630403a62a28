package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"understudy.dev/understudy/cli/boundary"
	"understudy.dev/understudy/cli/environ"
	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// ExecOptions are what exec was asked for, checked as far as that can be done
// without the cluster.
type ExecOptions struct {
	Config *config.Config
	Target target.Ref
	// Environ is what becomes of the container's environment, Boundary of its
	// network, names and files.
	Environ  *environ.Rules
	Boundary *boundary.Boundary
	// Args are the user's command and its arguments.
	Args []string
}

// attaches says whether the target's own pod is run beside.
func (o *ExecOptions) attaches() bool {
	return o.Config.Takeover == config.TakeoverNone && !o.Target.None()
}

// NewCmdExec runs a local process in the place of a workload. What was asked
// for goes to runF, where tests look at it; nil is the real thing.
func NewCmdExec(f *Factory, runF func(context.Context, *ExecOptions) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [-t TARGET [--copy-target [--scale-down]]] [flags] -- COMMAND [ARGUMENTS]",
		Short: "Run a command on this machine in the place of a workload in the cluster",
		Long: `Runs a command on this machine as if it ran in the pod of a workload: with the
environment, the mounted config maps, secrets and tokens, the names and the
network of the target's container, and with the connections that come in for it.

With --copy-target a stand-in is made, a copy of the target's pod in which
understudy's agent takes the place of the container. With --scale-down besides
the target itself is held at 0 replicas from just before the command starts
until it has ended: no message of a queue goes to the cluster's pods meanwhile.

With neither, an agent on its node attaches to one pod of the target, which goes on
running, and goes on taking messages: the command has what the pod's container
has, and the connections to the ports on which it listens itself.

Without a target (-t targetless, or none named) no workload is touched: an empty
pod is made, and the command has its network and the names that it can look up.

One session holds a target at a time. With --wait another one queues behind it,
in the order in which they came, and begins when its turn has come.

When the command ends, by itself, by Ctrl-C, by a signal or because this machine
is gone, everything is undone: at once, or when the cluster has not heard of this
machine for the time of the lease.

Files, the terminal and signals are this machine's: the command runs as you, in
this directory. Every flag can be given as a variable too: --target-namespace is
UNDERSTUDY_TARGET_NAMESPACE.

More than the flags can say is said in a file: the one that -f names, or the
nearest .understudy/understudy.* or .mirrord/mirrord.* (json, yaml or toml) of
this directory and, in a git repository, of those above it. Files and flags of
mirrord are taken as they are; what has no meaning here, or does not work yet, is
said. See docs/configuration.md.

` + exitCodesHelp,
		Example: `  # Every message of the queue comes to ./my-worker, none to the cluster's pods
  understudy exec -t deployment/worker --copy-target --scale-down -- ./my-worker

  # The same, after whoever holds it now
  understudy exec -t deployment/worker --copy-target --scale-down --wait -- ./my-worker

  # A container of several, in another namespace
  understudy exec -t deploy/orders/container/app -n shop --copy-target --scale-down -- npm start

  # Reach what only pods reach, in the place of nothing
  understudy exec -t targetless -n shop -- psql -h orders-db

  # Look around beside the workload, which goes on running
  understudy exec -t deployment/worker --copy-target -- bash

  # Be where one of its pods is, and answer in its place, while all go on running
  understudy exec -t deployment/web -- npm start

  # Let a port be reached in the cluster that the container does not declare
  understudy exec -t deployment/worker --copy-target --scale-down --listen 9229 -- node --inspect=0.0.0.0 app.js`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return failure.New("as in: understudy exec -t deployment/worker --copy-target -- ./my-worker", "there is no command to run: it comes after --")
			}
			return commandFirst(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := execOptions(f, cmd, args)
			if err != nil {
				return err
			}
			if runF != nil {
				return runF(cmd.Context(), opts)
			}
			return perform(cmd.Context(), f, opts)
		},
	}
	config.SessionFlags(cmd.Flags())
	config.ClusterFlags(cmd.Flags())
	// What comes after the command is the command's.
	cmd.Flags().SetInterspersed(false)
	completeExec(cmd)
	return cmd
}

func execOptions(f *Factory, cmd *cobra.Command, args []string) (*ExecOptions, error) {
	opts, err := asked(cmd)
	if opts != nil {
		f.form = opts.Config.Progress
	}
	if err != nil {
		return nil, err
	}
	c := opts.Config
	if err := supported(); err != nil {
		return nil, err
	}
	if err := ordinary(c); err != nil {
		return nil, err
	}
	if err := locate(args[0]); err != nil {
		return nil, err
	}
	if opts.Boundary, err = boundary.New(c); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	opts.Args = args
	return opts, nil
}

// perform splits this process from the one that goes on here and has it run
// the session. It returns in the latter only.
func perform(ctx context.Context, f *Factory, opts *ExecOptions) error {
	if err := signIn(ctx, opts.Config); err != nil {
		return err
	}
	front, err := f.Split(stage.SplitOptions{
		LostExitCode: failure.CodeOwn,
		LostHint:     fmt.Sprintf("the cluster undoes everything by itself when it has heard nothing of this machine for %s", opts.Config.Lease),
	})
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	p := &performance{
		opts: opts, front: front, environ: f.Environ,
		out: f.show(opts.Config.Progress, opts.Config.Verbose), restarts: make(chan tunnel.Welcome, 1),
	}
	if opts.Config.File != "" {
		p.out.Notice("configuration: %s", opts.Config.File)
	}
	for _, notice := range opts.Config.Notices {
		p.out.Notice("%s", notice)
	}
	return p.run(ctx)
}
