package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/doctor"
	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// NewCmdDoctor looks at what a session needs.
func NewCmdDoctor(f *Factory) *cobra.Command {
	var in place
	var bundle string
	form := output.Of(output.Document...)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at what a session needs, here and in the cluster, and say what to do",
		Long: `Looks at this machine (user namespaces, network device, /dev/fuse) and at the
cluster (is it reached, its version, the operator and its policies, your rights in
the namespace), changes nothing, and says of each thing that is wrong what to do
about it. The exit code is 125 where something keeps sessions from working.

--bundle writes an archive for a bug report, and says what is in it and what could
not be had: the findings, the configuration that flags, variables and file come to,
the sessions of the namespace, and the end of the operator's logs where you may read
them. Kubeconfig, Secrets and the environment never are, nor the values that the
configuration gives to variables; tokens, keys and the API server's address are
taken out of all text. Names of users, machines and workloads stay.`,
		Example: `  # Before the first session, and when one does not come about
  understudy doctor

  # The same for a bug report, with the sessions of the namespace
  understudy doctor -n shop --bundle report.tar.gz`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := examine(cmd, &in, bundle != "")
			if err := showFindings(f.Out, b.Findings, &form); err != nil {
				return err
			}
			if bundle != "" {
				if err := writeBundle(f.Err, b, bundle); err != nil {
					return err
				}
			}
			for _, finding := range b.Findings {
				if finding.State == doctor.Problem {
					return quiet{failure.CodeOwn}
				}
			}
			return nil
		},
	}
	in.flags(cmd, "sessions")
	cmd.Flags().StringVar(&bundle, "bundle", "", "write an archive for a bug report to this file")
	outputFlag(cmd, &form)
	return cmd
}

// examine looks at everything, and with it at what is told to nobody but who looks
// into a problem.
func examine(cmd *cobra.Command, in *place, deep bool) *doctor.Bundle {
	b := &doctor.Bundle{Version: versionLine(), Findings: doctor.Machine()}
	c, err := config.Load(cmd.Flags())
	if c != nil { // as far as it could be read
		in.Config = *c
		b.Configuration = resolved(c)
	}
	b.Findings = append(b.Findings, configuration(c, err)...)
	client, reach, err := in.reached()
	if err != nil {
		b.Findings = append(b.Findings, doctor.Finding{Of: "cluster", State: doctor.Problem, Says: err.Error(), Do: failure.Hint(err)})
		b.Missing = []doctor.Missing{unreached}
		return b
	}
	b.Hide(reach.Host)
	ctx, cancel := patience(cmd.Context(), reach)
	defer cancel()
	b.Findings = append(b.Findings, doctor.Cluster(ctx, client, release(), func(err error) error { return unanswered(reach, err, "") })...)
	if !slices.ContainsFunc(b.Findings, func(f doctor.Finding) bool { return f.Of == "you" }) { // it did not come so far
		b.Missing = []doctor.Missing{unreached}
		return b
	}
	b.Sessions, _, err = client.List(ctx)
	if err != nil {
		b.Missing = append(b.Missing, doctor.Missing{What: "sessions", Why: err.Error()})
	}
	if deep {
		logs, missing := doctor.Logs(ctx, client)
		b.Logs, b.Missing = logs, append(b.Missing, missing...)
	}
	return b
}

// unreached is what a bundle goes without where there is no cluster.
var unreached = doctor.Missing{What: "sessions, and the operator's logs", Why: "the cluster is not reached"}

// resolved is a configuration without what somebody's variables are set to.
func resolved(c *config.Config) string {
	shown := *c
	for _, values := range []*map[string]string{&shown.Env.Override, &shown.Env.Mapping} {
		hidden := map[string]string{}
		for name := range *values {
			hidden[name] = "(redacted)"
		}
		*values = hidden
	}
	text, err := shown.Show(true)
	if err != nil {
		return "# " + err.Error() + "\n"
	}
	return string(text)
}

// configuration is what there is to say of the file and the variables, where there
// is something.
func configuration(c *config.Config, err error) []doctor.Finding {
	f := doctor.Finding{Of: "configuration", State: doctor.OK}
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		var says []string
		for _, problem := range problems {
			says = append(says, problem.Error())
		}
		f.State, f.Says, f.Do = doctor.Problem, strings.Join(says, "; "), "all of it, with what to do, is said by: understudy config verify"
		if advice := failure.Hint(err); advice != "" {
			f.Do = advice
		}
	case err != nil:
		f.State, f.Says = doctor.Problem, err.Error()
	case c.File == "":
		return nil
	default:
		f.Says = c.File
	}
	return []doctor.Finding{f}
}

// found are findings for programs.
type found struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Findings   []doctor.Finding `json:"findings"`
}

func showFindings(out io.Writer, findings []doctor.Finding, form *output.Format) error {
	if !form.Is("text") {
		object, err := output.Object(&found{"cli." + v1alpha1.GroupVersion.Group + "/v1", "Findings", findings})
		if err != nil {
			return err
		}
		table := &metav1.Table{ColumnDefinitions: output.Columns("State", "Of", "Says", "+Do")}
		for _, f := range findings {
			do := strings.ReplaceAll(f.Do, "\n", "; ")
			table.Rows = append(table.Rows, output.Row(string(f.State), f.Of, progress.Harmless(f.Says), progress.Harmless(do)))
		}
		return form.Printer(out).Print(table, object)
	}
	for _, finding := range findings {
		if _, err := fmt.Fprintf(out, "%-9s%-17s%s\n", finding.State, finding.Of, progress.Harmless(finding.Says)); err != nil {
			return err
		}
		if finding.Do == "" {
			continue
		}
		for _, line := range strings.Split(finding.Do, "\n") {
			if _, err := fmt.Fprintf(out, "%-26s→ %s\n", "", progress.Harmless(line)); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeBundle writes the archive, which nobody else may read.
func writeBundle(remarks io.Writer, b *doctor.Bundle, name string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return failure.New("name another file, or remove it", "%s is there already", name)
	}
	if err != nil {
		return fmt.Errorf("making the bundle: %w", err)
	}
	names, err := b.Write(file, time.Now())
	if closed := file.Close(); err == nil && closed != nil {
		err = fmt.Errorf("writing the bundle: %w", closed)
	}
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(remarks, "%s has: %s\n", name, strings.Join(names, ", ")); err != nil {
		return err
	}
	for _, missing := range b.Missing {
		if _, err := fmt.Fprintf(remarks, "not in it: %s: %s\n", missing.What, progress.Harmless(missing.Why)); err != nil {
			return err
		}
	}
	return nil
}
