package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"understudy.dev/understudy/cli/boundary"
	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/cli/plan"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// NewCmdPlan says what exec would do.
func NewCmdPlan(f *Factory) *cobra.Command {
	format := output.Of(output.Document...)
	cmd := &cobra.Command{
		Use:   "plan [-t TARGET --copy-target [--scale-down]] [flags] [-- COMMAND [ARGUMENTS]]",
		Short: "Say what exec would do and what stands against it, and change nothing",
		Long: `Takes what exec takes, and says what would happen: which pods end, what stands in
for them, what is put back, and everything that is in the way or worth knowing.
Nothing is changed in the cluster. Dry runs try the session, the stand-in where
you may make pods, and the target at zero where you may patch it.

It looks at quotas, limit ranges and Pod Security, at volume claims, host ports
and node selectors, at autoscalers, disruption budgets and GitOps tools, at your
rights, at who holds the target already, and at what else may read from the same
queue. What you may not read is said, and is no failure.

Exit codes:
  0     nothing that could be seen stands in the way
  2     something does: see "In your way"
  125   no plan could be made: no such target, no answer, a wrong configuration

With -o table it is what was found alone; with json, yaml or jsonpath it is for
programs: docs/plan.md has the fields and codes.`,
		Example: `  # What would happen, and what stands against it
  understudy plan -t deployment/worker --copy-target --scale-down

  # The same, and whether the command is there on this machine
  understudy plan -t deployment/worker --copy-target --scale-down -- ./my-worker

  # For a program: of a file, and only what stands in the way
  understudy plan -f .mirrord/mirrord.json -o json
  understudy plan -t deployment/worker --copy-target -o jsonpath='{.findings[?(@.severity=="blocks")].says}'`,
		Args: func(cmd *cobra.Command, args []string) error { return commandFirst(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := planOptions(cmd, args)
			if err != nil {
				return err
			}
			if opts.Config.File != "" && format.People() {
				fmt.Fprintf(f.Err, "configuration: %s\n", opts.Config.File)
			}
			for _, notice := range opts.Config.Notices {
				fmt.Fprintf(f.Err, "notice: %s\n", notice)
			}
			return showPlan(cmd.Context(), f, opts, &format)
		},
	}
	config.SessionFlags(cmd.Flags())
	config.ClusterFlags(cmd.Flags())
	outputFlag(cmd, &format)
	// What comes after the command is the command's.
	cmd.Flags().SetInterspersed(false)
	completeExec(cmd)
	return cmd
}

// planOptions are those of exec, of which a command need not be there.
func planOptions(cmd *cobra.Command, args []string) (*ExecOptions, error) {
	opts, err := asked(cmd)
	if err != nil {
		return nil, err
	}
	opts.Args = args
	if opts.Boundary, err = boundary.New(opts.Config); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return opts, nil
}

// showPlan makes the plan and prints it. The exit code says whether something is
// in the way.
func showPlan(ctx context.Context, f *Factory, opts *ExecOptions, format *output.Format) error {
	client, reach, err := connect(opts.Config)
	if err != nil {
		return err
	}
	ctx, cancel := patience(ctx, reach)
	defer cancel()
	w, err := look(ctx, client, opts)
	if err != nil {
		return unanswered(reach, err, "")
	}
	p := plan.Make(w)
	if format.Is("text") {
		// The paragraph of `config verify`, then what a person can check.
		meant := *opts.Config
		meant.Takeover, meant.Paused = w.Takeover, false // what a pause comes to
		text := wrap(meant.Explain(factsOf(w.Target))) + "\n\n"
		for _, notice := range append(w.Target.Notices, idle(opts.Config, w.Takeover, w.Alone)...) {
			text += wrap("Notice: "+notice+".") + "\n\n"
		}
		_, err = fmt.Fprint(f.Out, text+p.Text())
	} else {
		var object *unstructured.Unstructured
		if object, err = planObject(w, p); err == nil {
			err = format.Printer(f.Out).Print(planTable(p), object)
		}
	}
	if err == nil && p.Blocked {
		return quiet{failure.CodeBlocked}
	}
	return err
}

// look reads the target and what is around it.
func look(ctx context.Context, client *session.Client, opts *ExecOptions) (*plan.World, error) {
	alone := freezesAlone(ctx, client, opts.Config)
	found, takeover, err := resolve(ctx, client, opts, !alone)
	if err != nil {
		return nil, err
	}
	w := &plan.World{Asked: opts.Config, Takeover: takeover, Target: found, Here: supported()}
	if w.Here == nil {
		w.Here = checkStage()
	}
	if len(opts.Args) > 0 {
		w.NoCommand = locate(opts.Args[0])
	}
	if err := plan.Look(ctx, client, w, verb(answers{target: found, takeover: takeover})); err != nil || !alone {
		return w, err
	}
	// No operator's session is made: it is what exec would ask itself that counts.
	w.Alone, w.Installed, w.Idle, w.OperatorNot, w.Rights, w.SessionTrial = true, nil, nil, "", nil, plan.Trial{}
	_, err = planAlone(ctx, client, opts.Config, found, owner(w.Username))
	if known := (*failure.Failure)(nil); errors.As(err, &known) {
		w.Stands, err = known, nil
	}
	return w, err
}

// factsOf are what the paragraph needs of the target.
func factsOf(t *target.Target) config.Facts {
	if t.None() {
		return config.Facts{Namespace: t.Namespace}
	}
	return config.Facts{Target: t.String(), Namespace: t.Namespace, Container: t.Container, Replicas: t.Replicas}
}

// planTable has what was found.
func planTable(p plan.Plan) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: output.Columns("Severity", "Code", "Says", "+Do")}
	for _, f := range p.Findings {
		do := strings.ReplaceAll(f.Do, "\n", "; ")
		table.Rows = append(table.Rows, output.Row(string(f.Severity), string(f.Code), progress.Harmless(f.Says), progress.Harmless(do)))
	}
	return table
}

// planObject is a plan for programs. It is no resource of the cluster's.
func planObject(w *plan.World, p plan.Plan) (*unstructured.Unstructured, error) {
	object, err := output.Object(&p)
	if err != nil {
		return nil, err
	}
	name := w.Target.Name
	if w.Target.None() {
		name = config.NoTarget
	}
	object.SetAPIVersion("cli." + v1alpha1.GroupVersion.Group + "/v1")
	object.SetKind("Plan")
	object.SetName(name)
	object.SetNamespace(w.Target.Namespace)
	return object, nil
}
