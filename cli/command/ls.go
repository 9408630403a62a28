package command

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/output"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// NewCmdLs lists what can be taken over.
func NewCmdLs(f *Factory) *cobra.Command {
	var in place
	var format output.Format
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"targets"},
		Short:   "List the targets there are, who holds them, and whether you may take them over",
		Long: `Lists what exec -t can name: the workloads of a namespace, or of all, and pods that
belong to none, with the number of their replicas, who holds each since when, and
whether you have the right to take it over.

TAKEOVER is "yes", "copy" for what can be copied and not held, "no" where you lack
the right, or "?" where the cluster cannot tell. With -o name only the targets are
printed, as exec -t takes them.`,
		Example: `  # What can be named with -t, and who has it
  understudy ls

  # With containers, sessions, and why something cannot be held
  understudy ls -n shop -o wide

  # In all namespaces, for a script: what somebody holds
  understudy ls -A -o jsonpath='{.items[?(@.heldBy)].target}'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, reach, err := in.client(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := patience(cmd.Context(), reach)
			defer cancel()
			if err := listTargets(ctx, client, &in, &format, f.Out, f.Err); err != nil {
				return unanswered(reach, err, "")
			}
			return nil
		},
	}
	in.flags(cmd, "targets")
	in.allFlag(cmd)
	outputFlag(cmd, &format)
	return cmd
}

func listTargets(ctx context.Context, client *session.Client, in *place, format *output.Format, out, remarks io.Writer) error {
	found, forbidden, err := target.List(ctx, client.Targets(), client.Namespace)
	if err != nil {
		return err
	}
	remark := func(text string, args ...any) {
		if format.People() {
			_, _ = fmt.Fprintf(remarks, text+"\n", args...)
		}
	}
	if len(forbidden) > 0 && len(found) == 0 {
		hint := target.UserRole(client.Namespace)
		if in.all {
			hint = "name a namespace that is yours with -n"
		}
		return failure.New(hint, "you may not list %s %s", strings.Join(forbidden, ", "), in.where(client))
	}
	if len(forbidden) > 0 {
		remark("not listed, as you may not: %s", strings.Join(forbidden, ", "))
	}
	if len(found) == 0 {
		if format.People() {
			if missing := client.NoNamespace(ctx); missing != nil {
				return missing
			}
			remark("there is nothing %s that could be taken over", in.where(client))
			return nil
		}
	}
	sessions, err := in.everyone(client).list(ctx, func(string, ...any) {})
	if err != nil {
		remark("who holds what is known only in part: %v", err)
	}
	may := takeovers(ctx, client, in.all, found)
	columns := []string{"Target", "Replicas", "Held by", "Since", "Takeover", "+Containers", "+Sessions", "+Note"}
	if in.all {
		columns = append([]string{"Namespace"}, columns...)
	}
	table := &metav1.Table{ColumnDefinitions: output.Columns(columns...)}
	list, err := output.Items(nil)
	if err != nil {
		return err
	}
	for i := range found {
		t := &found[i]
		held := holding(t, sessions)
		cells := []string{t.String(), count(t), held.by, held.age(), may[i], strings.Join(t.Containers, ","), strings.Join(held.sessions, ","), t.NotHeld}
		if in.all {
			cells = append([]string{t.Namespace}, cells...)
		}
		table.Rows = append(table.Rows, output.Row(cells...))
		list.Items = append(list.Items, unstructured.Unstructured{Object: described(t, held, may[i])})
	}
	if format.Is("name") {
		// As exec -t takes them, which is not what kubectl would call them.
		for i := range found {
			if _, err := fmt.Fprintln(out, found[i].String()); err != nil {
				return err
			}
		}
		return nil
	}
	return format.Printer(out).Print(table, list)
}

// count is a target's number of replicas, in words where it has none.
func count(t *target.Listed) string {
	switch {
	case !t.Counted:
		return ""
	case t.Group == "batch" && t.Replicas == 0:
		return "suspended"
	case t.Group == "batch":
		return ""
	}
	return strconv.Itoa(int(t.Replicas))
}

// described is a target for programs. It is no resource of the cluster's.
func described(t *target.Listed, held held, may string) map[string]any {
	object := map[string]any{
		"apiVersion": "cli." + v1alpha1.GroupVersion.Group + "/v1", "kind": "Target",
		"metadata": map[string]any{"name": t.Name, "namespace": t.Namespace, "uid": string(t.UID)},
		"target":   t.String(), "takeover": may,
	}
	if t.Counted {
		object["replicas"] = int64(t.Replicas)
	}
	for key, list := range map[string][]string{"containers": t.Containers, "sessions": held.sessions} {
		var values []any
		for _, value := range list {
			values = append(values, value)
		}
		if values != nil {
			object[key] = values
		}
	}
	if held.by != "" {
		object["heldBy"], object["heldSince"] = held.by, held.since.UTC().Format(time.RFC3339)
	}
	if t.NotHeld != "" {
		object["note"] = t.NotHeld
	}
	return object
}

// held is who is at a target.
type held struct {
	// by is who holds it; empty for nobody.
	by    string
	since time.Time
	// sessions are the names of all that stand in for it, copies too.
	sessions []string
}

func (h held) age() string {
	if h.by == "" {
		return ""
	}
	return ago(h.since)
}

// holding finds who is at a target: by the sessions, and by the claim on it
// where that session is not to be seen.
func holding(t *target.Listed, sessions []v1alpha1.Session) held {
	var h held
	for i := range sessions {
		s := &sessions[i]
		if s.Spec.Target.UID != t.UID && !slices.Contains(t.Pods, s.Spec.Target.UID) {
			continue
		}
		h.sessions = append(h.sessions, s.Name)
		if session.Tell(s).Holds {
			h.by, h.since = s.Spec.Owner.Username+at(s.Spec.Owner.Hostname), s.CreationTimestamp.Time
		}
	}
	if h.by == "" && t.Claim != nil {
		h.by = t.Claim.Owner
		h.since, _ = time.Parse(time.RFC3339, t.Claim.Since)
		if !slices.Contains(h.sessions, t.Claim.Name) {
			h.sessions = append(h.sessions, t.Claim.Name)
		}
	}
	return h
}

const (
	// reviewsTogether is how many questions about rights are asked at a time.
	reviewsTogether = 8
	// reviewsMost is how many targets are asked about one by one, where the
	// cluster cannot tell all of somebody's rights at once.
	reviewsMost = 64
)

// takeovers says of each target whether the user may take it over. For all
// namespaces each kind is asked about once; what is not allowed everywhere costs
// one question for each namespace.
func takeovers(ctx context.Context, client *session.Client, everywhere bool, found []target.Listed) []string {
	var mu sync.Mutex
	kinds := map[schema.GroupResource]bool{}
	rights := map[string]*session.Rights{}
	group := errgroup.Group{}
	group.SetLimit(reviewsTogether)
	if everywhere {
		for _, t := range found {
			kinds[schema.GroupResource{Group: t.Group, Resource: t.Resource}] = false
		}
		var ask []schema.GroupResource
		for k := range kinds {
			ask = append(ask, k)
		}
		for _, k := range ask {
			group.Go(func() error {
				allowed, err := client.Allowed(ctx, session.VerbTakeover, "", k.Group, k.Resource, "")
				mu.Lock()
				defer mu.Unlock()
				kinds[k] = err == nil && allowed
				return nil
			})
		}
		_ = group.Wait() // what is not known is asked for by namespace
	}
	everyone := func(t *target.Listed) bool { return kinds[schema.GroupResource{Group: t.Group, Resource: t.Resource}] }
	for i := range found {
		if t := &found[i]; !everyone(t) && rights[t.Namespace] == nil {
			of := &session.Rights{}
			rights[t.Namespace] = of
			group.Go(func() error {
				got, err := client.Rights(ctx, t.Namespace)
				if err != nil {
					got = session.Unknown
				}
				mu.Lock()
				defer mu.Unlock()
				*of = got
				return nil
			})
		}
	}
	_ = group.Wait()
	answers := make([]string, len(found))
	asked := 0
	for i := range found {
		t := &found[i]
		if everyone(t) {
			answers[i] = yes(t)
			continue
		}
		allowed, sure := rights[t.Namespace].Allow(session.VerbTakeover, t.Group, t.Resource, t.Name)
		switch {
		case allowed:
			answers[i] = yes(t)
		case sure:
			answers[i] = "no"
		default:
			answers[i] = "?"
			if asked++; asked > reviewsMost {
				continue
			}
			group.Go(func() error {
				if allowed, err := client.Allowed(ctx, session.VerbTakeover, t.Namespace, t.Group, t.Resource, t.Name); err == nil {
					answers[i] = "no"
					if allowed {
						answers[i] = yes(t)
					}
				}
				return nil
			})
		}
	}
	_ = group.Wait()
	return answers
}

func yes(t *target.Listed) string {
	if t.NotHeld != "" {
		return "copy"
	}
	return "yes"
}
