// Package drain ends all sessions of a cluster, before Understudy is
// uninstalled from it. It runs as the chart's pre-delete hook, beside the
// operator and not in it: the operator undoes each session as at any other end,
// drain asks for it and waits.
//
// That no session starts meanwhile is seen to by the admission policy
// understudy-draining, which Helm makes just before. It stays when all went
// well, until the release is gone, and is deleted when a session remains, because
// then the uninstall has failed and people go on working.
package drain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Names of what the chart makes.
const (
	// policyName of the ValidatingAdmissionPolicy that refuses new sessions,
	// and of its binding.
	policyName = "understudy-draining"
	// releaseRole is a ClusterRole of the release: when it is gone, so is
	// the operator.
	releaseRole = "understudy-operator"
)

// ErrSessionsRemain is returned, wrapped with their names, when sessions have
// not ended in time.
var ErrSessionsRemain = errors.New("sessions remain")

// Drain is one attempt to end all sessions.
type Drain struct {
	// Client reaches the cluster; required.
	Client client.Client
	// Out gets a line for each thing that is done; required.
	Out io.Writer
	// Timeout is how long to wait for the sessions to end; required.
	Timeout time.Duration
	// Interval between two looks; 500 ms when zero.
	Interval time.Duration
	// Settle is how long no session must be seen before the cluster counts as
	// empty, because API servers take a moment to see a new policy; 3 s when
	// zero.
	Settle time.Duration
}

// Run is the subcommand "drain": it ends all sessions of the cluster that it
// runs in and returns an error that names those that did not end.
func Run(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("drain", pflag.ContinueOnError)
	timeout := flags.Duration("timeout", 4*time.Minute, "how long to wait for the sessions to end")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("reading the flags of drain: %w", err)
	}
	cluster, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster to drain: %w", err)
	}
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	c, err := client.New(cluster, client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("connecting to the cluster to drain: %w", err)
	}
	return (&Drain{Client: c, Out: os.Stdout, Timeout: *timeout}).Run(ctx)
}

// Scheme holds the types that a Drain's client needs.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, admissionregistrationv1.AddToScheme, rbacv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("registering types: %w", err)
		}
	}
	return scheme, nil
}

// Run deletes every session and waits until none is left. It returns
// ErrSessionsRemain with their names and states when that takes longer than
// the timeout; then new sessions are let in again.
func (d *Drain) Run(ctx context.Context) error {
	err := d.close(ctx)
	if err == nil {
		err = d.end(ctx)
	}
	if err == nil {
		return nil
	}
	// Also when the context is over: the process has some seconds left.
	reopening, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, d.reopen(reopening))
}

// close makes the policy that refuses new sessions go with the release, which
// also proves that it is there.
func (d *Drain) close(ctx context.Context) error {
	role := &rbacv1.ClusterRole{}
	if err := d.Client.Get(ctx, types.NamespacedName{Name: releaseRole}, role); err != nil {
		return fmt.Errorf("getting the release's ClusterRole %s: %w", releaseRole, err)
	}
	owner := metav1.OwnerReference{
		APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole", Name: role.Name, UID: role.UID,
	}
	for _, object := range gate() {
		if err := d.Client.Get(ctx, types.NamespacedName{Name: policyName}, object); err != nil {
			return fmt.Errorf("getting the policy that refuses new sessions: %w", err)
		}
		before := object.DeepCopyObject().(client.Object)
		object.SetOwnerReferences([]metav1.OwnerReference{owner})
		if err := d.Client.Patch(ctx, object, client.MergeFrom(before)); err != nil {
			return fmt.Errorf("tying the policy that refuses new sessions to the release: %w", err)
		}
	}
	fmt.Fprintln(d.Out, "new sessions are refused")
	return nil
}

// reopen lets sessions start again.
func (d *Drain) reopen(ctx context.Context) error {
	gate := gate()
	slices.Reverse(gate)
	for _, object := range gate {
		object.SetName(policyName)
		if err := d.Client.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("letting sessions start again: %w", err)
		}
	}
	fmt.Fprintln(d.Out, "new sessions are let in again")
	return nil
}

// gate is the policy that refuses new sessions, and its binding.
func gate() []client.Object {
	return []client.Object{
		&admissionregistrationv1.ValidatingAdmissionPolicy{},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{},
	}
}

// end deletes the sessions and waits for the operator to undo them.
func (d *Drain) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	interval, settle := d.Interval, d.Settle
	if interval == 0 {
		interval = 500 * time.Millisecond
	}
	if settle == 0 {
		settle = 3 * time.Second
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	empty := time.Now()
	asked := map[types.UID]bool{}
	var remaining []v1alpha1.Session
	var failure error
	for {
		var sessions v1alpha1.SessionList
		err := d.Client.List(ctx, &sessions)
		switch {
		case meta.IsNoMatchError(err) || apierrors.IsNotFound(err):
			fmt.Fprintln(d.Out, "this cluster has no sessions: the resource is not installed")
			return nil
		case err != nil:
			// What was seen last stays what remains: an API server that is
			// away for a moment is waited for.
			empty = time.Now()
			if ctx.Err() == nil {
				failure = fmt.Errorf("listing sessions: %w", err)
			}
		case len(sessions.Items) > 0:
			empty = time.Now()
			remaining, failure = sessions.Items, d.delete(ctx, sessions.Items, asked)
		default:
			remaining, failure = nil, nil
			if time.Since(empty) >= settle {
				fmt.Fprintln(d.Out, "no session is left")
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return d.remain(remaining, failure, ctx.Err())
		case <-tick.C:
		}
	}
}

// delete asks for the end of each session that nobody has asked to end yet.
func (d *Drain) delete(ctx context.Context, sessions []v1alpha1.Session, asked map[types.UID]bool) error {
	var failures []error
	for i := range sessions {
		s := &sessions[i]
		if !asked[s.UID] {
			asked[s.UID] = true
			fmt.Fprintf(d.Out, "ending session %s/%s of %s\n", s.Namespace, s.Name, s.Spec.Owner.Username)
		}
		if !s.DeletionTimestamp.IsZero() {
			continue
		}
		err := d.Client.Delete(ctx, s, client.Preconditions{UID: &s.UID})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			failures = append(failures, fmt.Errorf("ending session %s/%s: %w", s.Namespace, s.Name, err))
		}
	}
	return errors.Join(failures...)
}

// remain says which sessions did not end, and what the operator says of them.
func (d *Drain) remain(sessions []v1alpha1.Session, failure, over error) error {
	if len(sessions) == 0 {
		return errors.Join(fmt.Errorf("waiting until no session is left: %w", over), failure)
	}
	lines := make([]string, 0, len(sessions))
	for i := range sessions {
		s := &sessions[i]
		line := fmt.Sprintf("%s/%s of %s", s.Namespace, s.Name, s.Spec.Owner.Username)
		if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionRestored); c != nil {
			line += fmt.Sprintf(" (%s: %s)", c.Reason, c.Message)
		}
		lines = append(lines, line)
	}
	return errors.Join(
		fmt.Errorf("%w after %s: %s; is the operator running?", ErrSessionsRemain, d.Timeout, strings.Join(lines, ", ")),
		failure)
}
