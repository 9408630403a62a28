package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/solo"
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
			look := looking{client: client, everyone: in.everyone(client), reach: reach, in: &in, format: &format, out: f.Out, remarks: f.Err}
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
	for _, kind := range []string{"session." + v1alpha1.GroupVersion.Group, "session.cli." + v1alpha1.GroupVersion.Group} {
		name = strings.TrimPrefix(name, kind+"/")
	}
	return name
}

// looking is one run of sessions.
type looking struct {
	client       *session.Client
	everyone     everyone
	reach        *rest.Config
	in           *place
	format       *output.Format
	out, remarks io.Writer
}

func (l *looking) all(ctx context.Context) error {
	ctx, cancel := patience(ctx, l.reach)
	defer cancel()
	sessions, err := l.everyone.list(ctx, l.remark)
	if err != nil {
		return err
	}
	if len(sessions) == 0 && l.format.People() {
		if missing := l.client.NoNamespace(ctx); missing != nil {
			return missing
		}
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
	list, err := output.Items(objects)
	if err != nil {
		return err
	}
	return l.format.Printer(l.out).Print(table, list)
}

// remark says something beside to a person.
func (l *looking) remark(text string, args ...any) {
	if l.format.People() {
		_, _ = fmt.Fprintf(l.remarks, text+"\n", args...)
	}
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
	t := teller{looking: l, printer: l.format.Printer(l.out), seen: map[types.UID]string{}}
	sources := append([]source{l.everyone.operators}, l.everyone.alone...)
	versions := make([]string, len(sources))
	fails := make([]error, len(sources))
	for i, from := range sources {
		versions[i], fails[i] = t.list(ctx, from)
	}
	// What cannot be had at first is not waited for, as long as something can.
	missing := errors.Join(fails[1:]...)
	switch err := fails[0]; {
	case err != nil && (!errors.Is(err, session.ErrNotInstalled) || missing != nil):
		return err
	case missing != nil:
		l.remark("freezes without an operator are not shown: %v", missing)
	}
	if len(t.seen) == 0 {
		l.remark("there are no sessions %s yet", l.in.where(l.client))
	}
	var group errgroup.Group
	for i, from := range sources {
		if fails[i] == nil {
			group.Go(func() error { return t.follow(ctx, from, versions[i]) })
		}
	}
	return group.Wait()
}

// teller prints what several sources tell, each session once for a version of it.
type teller struct {
	*looking
	mu      sync.Mutex
	printer *output.Printer
	seen    map[types.UID]string
	told    bool // that the cluster does not answer
}

// list tells of all that a source has.
func (t *teller) list(ctx context.Context, from source) (version string, err error) {
	sessions, version, err := from.list(ctx)
	for i := 0; i < len(sessions) && err == nil; i++ {
		err = t.tell(ctx, &sessions[i], false)
	}
	return version, err
}

func (t *teller) tell(ctx context.Context, s *v1alpha1.Session, gone bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, known := t.seen[s.UID]; !gone && last == s.ResourceVersion || gone && !known {
		return nil
	}
	t.seen[s.UID] = s.ResourceVersion
	state := ""
	var heard time.Time
	if gone {
		delete(t.seen, s.UID)
		state = "ended"
	} else if t.format.People() {
		heard = t.heard(ctx, []v1alpha1.Session{*s})[s.UID]
	}
	object, err := output.Object(s)
	if err != nil {
		return err
	}
	table := t.table()
	table.Rows = []metav1.TableRow{t.row(s, heard, state)}
	return t.printer.Print(table, object)
}

// follow tells what changes in a source, until ctx is done.
func (t *teller) follow(ctx context.Context, from source, version string) error {
	for {
		err := from.watch(ctx, version, func(s *v1alpha1.Session, gone bool) error { return t.tell(ctx, s, gone) })
		if err == nil {
			version, err = t.list(ctx, from)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			t.answers(nil)
			continue
		}
		t.answers(err)
		select {
		case <-time.After(retryWatch):
		case <-ctx.Done():
			return nil
		}
		if fresh, err := t.list(ctx, from); err == nil {
			version = fresh
			t.answers(nil)
		}
	}
}

// answers says when the cluster begins and ends to be away.
func (t *teller) answers(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil && !t.told:
		_, _ = fmt.Fprintf(t.remarks, "the cluster does not answer (%v); trying again\n", unanswered(t.reach, err, ""))
	case err == nil && t.told:
		_, _ = fmt.Fprintln(t.remarks, "the cluster answers again")
	}
	t.told = err != nil
}

func (l *looking) one(ctx context.Context, name string) error {
	ctx, cancel := patience(ctx, l.reach)
	defer cancel()
	s, err := find(ctx, l.client, l.everyone, name)
	if err != nil {
		return err
	}
	heard := l.heard(ctx, []v1alpha1.Session{*s})[s.UID]
	if l.format.People() && !l.format.Is("wide") {
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
	if solo.Is(s) {
		last = "by its agent alone, which thaws when that is longer ago than the lease"
	}
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
		line("Target", "%s%s", a.Target, ofContainer(s))
	}
	line("Mode", "%s", a.Mode)
	line("Owner", "%s%s", s.Spec.Owner.Username, at(s.Spec.Owner.Hostname))
	if solo.Is(s) {
		line("Agent", "made without an operator, on node %s", s.Status.Agent.NodeName)
	}
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

func ofContainer(s *v1alpha1.Session) string {
	if s.Spec.Target.Container == "" {
		return ""
	}
	return ", container " + s.Spec.Target.Container
}

// age is a time span as kubectl shows one.
func age(d time.Duration) string { return duration.HumanDuration(d) }
