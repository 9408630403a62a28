package command

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// NewCmdSessions shows sessions, all or one of them.
func NewCmdSessions(f *Factory) *cobra.Command {
	var in place
	var format output.Format
	var watch bool
	cmd := &cobra.Command{
		Use:     "sessions [SESSION]",
		Aliases: []string{"status"},
		Short:   "Show who stands in for what, since when, and what happens when it ends",
		Long: `Shows the sessions of a namespace, or of all: whose each is, its target, what is
done with that meanwhile, since when, when its owner's machine was heard of last,
and whether it is ready or why not. With the name of one it is told at length:
also what happens to the target when the session ends.

HEARD is how long ago the owner's machine renewed the session's lease. When that
is longer than the lease the cluster ends the session by itself. It is "-" where
you may not read leases.`,
		Example: `  # Those of this namespace; of all, with what happens when they end
  understudy sessions
  understudy sessions -A -o wide

  # What changes, as it does
  understudy sessions -w

  # All of one of them
  understudy status worker-x7k2p

  # For a script: who is at it
  understudy sessions -o jsonpath='{.items[*].spec.owner.username}'`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return fmt.Errorf("it takes the name of one session at most")
			case len(args) == 1 && in.all:
				return fmt.Errorf("a name belongs to one namespace: choose it with -n, not -A")
			case len(args) == 1 && watch:
				return fmt.Errorf("one session is not watched: leave its name out")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, reach, err := in.client(cmd)
			if err != nil {
				return err
			}
			look := looking{client: client, reach: reach, in: &in, format: &format, out: f.Out, remarks: f.Err}
			switch {
			case len(args) == 1:
				err = look.one(cmd.Context(), bareName(args[0]))
			case watch:
				err = look.watch(cmd.Context())
			default:
				err = look.all(cmd.Context())
			}
			if err != nil {
				return unanswered(reach, err, "")
			}
			return nil
		},
	}
	in.flags(cmd, "sessions")
	in.allFlag(cmd)
	outputFlag(cmd, &format)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on, with a line for every change")
	completeSession(cmd, false)
	return cmd
}

// bareName is a session's name without what -o name prints before it.
func bareName(name string) string {
	return strings.TrimPrefix(name, "session."+v1alpha1.GroupVersion.Group+"/")
}

// looking is one run of sessions.
type looking struct {
	client       *session.Client
	reach        *rest.Config
	in           *place
	format       *output.Format
	out, remarks io.Writer
}

func (l *looking) all(ctx context.Context) error {
	ctx, cancel := patience(ctx, l.reach)
	defer cancel()
	sessions, _, err := l.client.List(ctx)
	if err != nil {
		return err
	}
	if len(sessions) == 0 && l.format.People() {
		_, err := fmt.Fprintf(l.remarks, "there are no sessions %s\n", l.in.where(l.client))
		return err
	}
	heard := l.heard(ctx, sessions)
	var objects []runtime.Object
	table := l.table()
	for i := range sessions {
		objects = append(objects, &sessions[i])
		table.Rows = append(table.Rows, l.row(&sessions[i], heard[sessions[i].UID], ""))
	}
	list, err := output.List(objects)
	if err != nil {
		return err
	}
	return l.format.Printer(l.out).Print(table, list)
}

// heard asks for Leases; what cannot be had is not shown.
func (l *looking) heard(ctx context.Context, sessions []v1alpha1.Session) map[types.UID]time.Time {
	heard, err := l.client.Heard(ctx, sessions)
	if err != nil && l.format.People() {
		_, _ = fmt.Fprintf(l.remarks, "when they were heard of is not known: %v\n", err)
	}
	return heard
}

func (l *looking) table() *metav1.Table {
	columns := []string{"Name", "Target", "Mode", "Owner", "+Host", "Since", "Heard", "Ready", "+At its end", "+Message"}
	if l.in.all {
		columns = append([]string{"Namespace"}, columns...)
	}
	return &metav1.Table{ColumnDefinitions: output.Columns(columns...)}
}

// row is a session in the table; state is said instead of what it says of
// itself.
func (l *looking) row(s *v1alpha1.Session, heard time.Time, state string) metav1.TableRow {
	a := session.Tell(s)
	message := a.Message
	switch {
	case state != "":
		message = ""
	case a.Ready:
		state, message = "yes", ""
	default:
		state = a.Reason
	}
	cells := []string{s.Name, a.Target, a.Mode, s.Spec.Owner.Username, s.Spec.Owner.Hostname, ago(s.CreationTimestamp.Time), ago(heard), state, a.AtEnd, message}
	if l.in.all {
		cells = append([]string{s.Namespace}, cells...)
	}
	return output.Row(cells...)
}

// retryWatch is the pause after a watch that failed.
const retryWatch = 2 * time.Second

// watch prints what there is and then what changes, until ctx is done.
func (l *looking) watch(ctx context.Context) error {
	printer := l.format.Printer(l.out)
	seen := map[types.UID]string{}
	told := false
	tell := func(s *v1alpha1.Session, gone bool) error {
		if !gone && seen[s.UID] == s.ResourceVersion {
			return nil
		}
		seen[s.UID] = s.ResourceVersion
		state := ""
		var heard time.Time
		if gone {
			delete(seen, s.UID)
			state = "ended"
		} else if l.format.People() {
			heard = l.heard(ctx, []v1alpha1.Session{*s})[s.UID]
		}
		object, err := output.Object(s)
		if err != nil {
			return err
		}
		table := l.table()
		table.Rows = []metav1.TableRow{l.row(s, heard, state)}
		return printer.Print(table, object)
	}
	for first := true; ; first = false {
		sessions, version, err := l.client.List(ctx)
		for i := 0; i < len(sessions) && err == nil; i++ {
			err = tell(&sessions[i], false)
		}
		if err == nil {
			if first && len(sessions) == 0 && l.format.People() {
				_, _ = fmt.Fprintf(l.remarks, "there are no sessions %s yet\n", l.in.where(l.client))
			}
			if told {
				_, _ = fmt.Fprintln(l.remarks, "the cluster answers again")
			}
			told = false
			err = l.client.Watch(ctx, version, tell)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			continue
		case first:
			return err
		case !told:
			_, _ = fmt.Fprintf(l.remarks, "the cluster does not answer (%v); trying again\n", unanswered(l.reach, err, ""))
			told = true
		}
		select {
		case <-time.After(retryWatch):
		case <-ctx.Done():
		}
	}
}

func (l *looking) one(ctx context.Context, name string) error {
	ctx, cancel := patience(ctx, l.reach)
	defer cancel()
	s, err := l.client.Find(ctx, name)
	if err != nil {
		return err
	}
	heard := l.heard(ctx, []v1alpha1.Session{*s})[s.UID]
	if l.format.People() && !l.format.Wide() {
		_, err := io.WriteString(l.out, atLength(s, heard))
		return err
	}
	object, err := output.Object(s)
	if err != nil {
		return err
	}
	table := l.table()
	table.Rows = []metav1.TableRow{l.row(s, heard, "")}
	return l.format.Printer(l.out).Print(table, object)
}

// atLength is all that there is to say of one session.
func atLength(s *v1alpha1.Session, heard time.Time) string {
	a := session.Tell(s)
	lease := age(time.Duration(s.Spec.LeaseDurationSeconds) * time.Second)
	last := "not known; the lease is " + lease
	if !heard.IsZero() {
		last = fmt.Sprintf("%s ago; the lease is %s", ago(heard), lease)
	}
	ready := "yes"
	if !a.Ready {
		ready = strings.TrimSuffix(a.Reason+": "+a.Message, ": ")
	}
	var out strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&out, "%-12s%s\n", name, progress.Harmless(fmt.Sprintf(format, args...)))
	}
	line("Session", "%s in namespace %s", s.Name, s.Namespace)
	if a.Target == "" {
		line("Target", "none: the namespace itself")
	} else {
		line("Target", "%s, container %s", a.Target, s.Spec.Target.Container)
	}
	line("Mode", "%s", a.Mode)
	line("Owner", "%s%s", s.Spec.Owner.Username, at(s.Spec.Owner.Hostname))
	line("Since", "%s (%s ago)", s.CreationTimestamp.UTC().Format(time.RFC3339), ago(s.CreationTimestamp.Time))
	line("Heard", "%s", last)
	if limit := s.Spec.MaxDurationSeconds; limit > 0 {
		line("Until", "%s at the latest", s.CreationTimestamp.Add(time.Duration(limit)*time.Second).UTC().Format(time.RFC3339))
	}
	line("Ready", "%s", ready)
	if pods := s.Status.OldPods; len(pods) > 0 {
		var names []string
		for _, pod := range pods {
			names = append(names, pod.Name)
		}
		line("Old pods", "%s", strings.Join(names, ", "))
	}
	line("At its end", "%s", a.AtEnd)
	if len(s.Status.Conditions) > 0 {
		out.WriteString("\nConditions\n")
	}
	for _, c := range s.Status.Conditions {
		fmt.Fprintf(&out, "  %-14s %-8s %-20s %s\n", c.Type, c.Status, c.Reason, progress.Harmless(c.Message))
	}
	return out.String()
}

// age is a time span as kubectl shows one.
func age(d time.Duration) string { return duration.HumanDuration(d) }
