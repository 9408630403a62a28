package session

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

const (
	// nameLength is the longest name that the resource allows a Session.
	nameLength = 52
	// nameRandom is how many random characters a name ends with.
	nameRandom = 5
	// createTry is how long one attempt to make a Session may take.
	createTry = 10 * time.Second
	// createTries is how often it is attempted when no answer comes.
	createTries = 3
)

// Name makes a Session's name of its target's; of nothing, where there is none.
func Name(target string) string {
	if target == "" {
		target = "targetless"
	}
	cut := strings.ReplaceAll(target, ".", "-")
	cut = strings.TrimRight(cut[:min(len(cut), nameLength-nameRandom-1)], "-")
	return cut + "-" + rand.String(nameRandom)
}

// Create makes a Session. An answer that got lost is not mistaken for a
// failure: as the key in the spec is this run's own, a Session of the name
// that bears it is the one that was asked for. It is not interrupted half way,
// so that the caller always knows whether there is one to end.
func (c *Client) Create(ctx context.Context, spec v1alpha1.SessionSpec) (*v1alpha1.Session, error) {
	ctx = context.WithoutCancel(ctx)
	wanted := &v1alpha1.Session{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session"},
		ObjectMeta: metav1.ObjectMeta{Name: Name(spec.Target.Name), Namespace: c.Namespace},
		Spec:       spec,
	}
	var err error
	for range createTries {
		var made *v1alpha1.Session
		if made, err = c.create(ctx, wanted); err == nil {
			return made, nil
		}
		var status apierrors.APIStatus
		if asStatus(err, &status) && !apierrors.IsTimeout(err) && !apierrors.IsServerTimeout(err) && !apierrors.IsInternalError(err) {
			return nil, c.refused(wanted, err)
		}
	}
	return nil, &failure.Failure{
		What: fmt.Sprintf("making session %s/%s", c.Namespace, wanted.Name), Err: short(err),
		Hint: fmt.Sprintf("try again; should it have been made all the same, the cluster undoes it by itself after %d s", spec.LeaseDurationSeconds),
	}
}

// Try has the API server say whether it would take a Session, by a dry run: nothing
// is made.
func (c *Client) Try(ctx context.Context, spec v1alpha1.SessionSpec) error {
	_, err := c.sessions.Create(ctx, &v1alpha1.Session{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session"},
		ObjectMeta: metav1.ObjectMeta{Name: Name(spec.Target.Name), Namespace: c.Namespace},
		Spec:       spec,
	}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: "understudy"})
	return err
}

func (c *Client) create(ctx context.Context, wanted *v1alpha1.Session) (*v1alpha1.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, createTry)
	defer cancel()
	made, err := c.sessions.Create(ctx, wanted, metav1.CreateOptions{FieldManager: "understudy"})
	if !apierrors.IsAlreadyExists(err) {
		return made, err
	}
	made, err = c.sessions.Get(ctx, wanted.Name, metav1.GetOptions{})
	if err == nil && made.Spec.ClientKey != wanted.Spec.ClientKey {
		wanted.Name = Name(wanted.Spec.Target.Name)
		return nil, fmt.Errorf("there is another session of the name %s", made.Name)
	}
	return made, err
}

// refused says in a user's words why the API server did not take a Session.
func (c *Client) refused(wanted *v1alpha1.Session, err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return &failure.Failure{What: "the session could not be made", Hint: "is there a namespace " + c.Namespace + "? And is Understudy installed?", Err: err}
	case apierrors.IsForbidden(err):
		return &failure.Failure{What: "the API server refuses the session", Hint: "the message above says by which rule", Err: err}
	case apierrors.IsInvalid(err):
		return &failure.Failure{What: "the session is not valid", Hint: "is the operator in the cluster of another version than this understudy? Compare with: understudy version", Err: err}
	}
	return fmt.Errorf("making session %s/%s: %w", c.Namespace, wanted.Name, err)
}
