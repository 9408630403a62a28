package command

import (
	"context"
	"errors"
	"fmt"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/solo"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// source is one place that sessions are found in.
type source struct {
	list  func(context.Context) (sessions []v1alpha1.Session, version string, err error)
	watch func(ctx context.Context, version string, tell func(*v1alpha1.Session, bool) error) error
}

// everyone are the sessions of a place, whoever keeps them: an operator, or the
// owner's own machine.
type everyone struct {
	operators source
	// alone are freezes without an operator, by the namespaces of their agents.
	alone []source
}

func (p *place) everyone(client *session.Client) everyone {
	e := everyone{operators: source{client.List, client.Watch}}
	agents := solo.NewElsewhere(client, p.AgentNamespace)
	for _, place := range agents.Places() {
		e.alone = append(e.alone, source{
			list: func(ctx context.Context) ([]v1alpha1.Session, string, error) { return agents.List(ctx, place) },
			watch: func(ctx context.Context, version string, tell func(*v1alpha1.Session, bool) error) error {
				return agents.Watch(ctx, place, version, tell)
			},
		})
	}
	return e
}

// without are the freezes that no operator keeps; unknown says why some may be
// missing.
func (e everyone) without(ctx context.Context) (found []v1alpha1.Session, unknown error) {
	for _, source := range e.alone {
		some, _, err := source.list(ctx)
		if err != nil {
			unknown = err
		}
		found = append(found, some...)
	}
	return found, unknown
}

// list are all of them. Where no operator is installed there are only those without
// one, and that is no error: remark says it, and what else is not known.
func (e everyone) list(ctx context.Context, remark func(string, ...any)) ([]v1alpha1.Session, error) {
	sessions, _, err := e.operators.list(ctx)
	if err != nil && !errors.Is(err, session.ErrNotInstalled) {
		return nil, err
	}
	alone, unknown := e.without(ctx)
	switch {
	case unknown != nil && err != nil:
		return nil, fmt.Errorf("%w, and freezes without it are not known: %w", err, unknown)
	case unknown != nil:
		remark("freezes without an operator are not shown: %v", unknown)
	case err != nil && len(alone) == 0:
		remark("Understudy is not installed in this cluster: there are only freezes without an operator")
	}
	return append(sessions, alone...), nil
}
