package session

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Find reads a session by its name. The error is a *failure.Failure when there
// is none, or it may not be read.
func (c *Client) Find(ctx context.Context, name string) (*v1alpha1.Session, error) {
	found, err := c.sessions.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		named(found)
		return found, nil
	case apierrors.IsNotFound(err):
		if missing := c.NoNamespace(ctx); missing != nil {
			return nil, missing
		}
		hint := "choose another namespace with -n"
		if names, err := c.Names(ctx); err == nil && len(names) > 0 {
			hint = "there is " + strings.Join(names, ", ") + "; or " + hint
		}
		return nil, failure.New(hint, "there is no session %q in namespace %s", name, c.Namespace)
	case apierrors.IsForbidden(err):
		return nil, &failure.Failure{What: "you may not read the sessions of namespace " + c.Namespace, Hint: target.UserRole(c.Namespace), Err: err}
	}
	return nil, fmt.Errorf("reading session %s/%s: %w", c.Namespace, name, err)
}

// FindFor reads the one session of a target; the container is not looked at. One
// that has ended, and is kept to be read, is meant only where there is no other. The
// error is a *failure.Failure when there is none, or more than one, or they may
// not be read.
func (c *Client) FindFor(ctx context.Context, of target.Ref) (*v1alpha1.Session, error) {
	sessions, _, err := c.List(ctx)
	if err != nil {
		return nil, err
	}
	var its, ended []*v1alpha1.Session
	var others []string
	for i := range sessions {
		t, state := sessions[i].Spec.Target, State{Session: &sessions[i]}
		switch {
		case t.Group != of.Group || t.Resource != of.Resource || t.Name != of.Name:
			others = append(others, sessions[i].Name)
		case state.Final() && state.Is(v1alpha1.ConditionRestored):
			ended = append(ended, &sessions[i])
		default:
			its = append(its, &sessions[i])
		}
	}
	if len(its) == 0 {
		its = ended
	}
	of.Container = ""
	switch {
	case len(its) == 1:
		return its[0], nil
	case len(its) > 1:
		var names []string
		for _, each := range its {
			names = append(names, each.Name)
		}
		return nil, failure.New("name one of them", "%s has %d sessions: %s", of, len(its), strings.Join(names, ", "))
	}
	if len(others) == 0 {
		if missing := c.NoNamespace(ctx); missing != nil {
			return nil, missing
		}
	}
	hint := "choose another namespace with -n"
	if len(others) > 0 {
		hint = "for other targets there is " + strings.Join(others, ", ") + "; or " + hint
	}
	return nil, failure.New(hint, "there is no session for %s in namespace %s", of, c.Namespace)
}

// NoNamespace is the failure where there is not even the namespace, for who found
// nothing in it; nil where there is, and where this user is not told.
func (c *Client) NoNamespace(ctx context.Context) error {
	if c.Namespace == "" {
		return nil // all are meant
	}
	return c.Targets().NoNamespace(ctx, c.Namespace)
}

// Names are the names of the namespace's sessions, in order.
func (c *Client) Names(ctx context.Context) ([]string, error) {
	list, err := c.sessions.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the sessions of namespace %s: %w", c.Namespace, err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	slices.Sort(names)
	return names, nil
}

// MayEnd fails unless the user may end that session, which is another's.
func (c *Client) MayEnd(ctx context.Context, other *v1alpha1.Session) error {
	return c.may(ctx, "session "+other.Name, authorizationv1.ResourceAttributes{
		Namespace: c.Namespace, Verb: "end", Group: v1alpha1.GroupVersion.Group, Resource: v1alpha1.Resource.Resource, Name: other.Name,
	})
}
