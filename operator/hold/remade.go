package hold

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// RemadeError says that a number was written and that the API server's answer has
// another one, as a mutating webhook or policy of the cluster can make of it.
type RemadeError struct {
	// Wrote and Made describe the two numbers.
	Wrote, Made string
}

func (e *RemadeError) Error() string {
	return fmt.Sprintf("%s was written, and %s came of it: a mutating webhook or policy of the cluster changes what is written", e.Wrote, e.Made)
}

// IsRemade says whether an error is that.
func IsRemade(err error) bool {
	var remade *RemadeError
	return errors.As(err, &remade)
}

// oweTries bounds how often what is owed is noted anew because somebody else wrote.
const oweTries = 10

// number makes a change with a number in it, and fails with a RemadeError where
// another one came of it.
func (h Holder) number(ctx context.Context, what string, w Workload, object client.Object, change func(client.Object) error, options ...client.PatchOption) error {
	var wrote State
	err := h.patch(ctx, what, object, func(object client.Object) error {
		err := change(object)
		wrote = w.Inspect(object)
		return err
	}, options...)
	if err != nil {
		return err
	}
	made := w.Inspect(object)
	if made.Replicas == wrote.Replicas && made.Unset == wrote.Unset {
		return nil
	}
	return fmt.Errorf("%s %s/%s: %w", what, object.GetNamespace(), object.GetName(), &RemadeError{Wrote: w.Describe(wrote.Replicas), Made: w.Describe(made.Replicas)})
}

// owe is for a number that was not taken, with a patch that took the claim off: it
// puts that on again, and writes the number once more, in our own name. What is there
// then is told from a number that somebody wishes for, and whose it was is still to be
// seen. It leaves the object alone once somebody has written another number.
func (h Holder) owe(ctx context.Context, w Workload, object client.Object, claim string, replicas int32, owners []v1alpha1.FieldOwner) error {
	made := w.Inspect(object).Replicas
	for try := 1; ; try++ {
		err := h.patch(ctx, "noting what is owed to", object, func(object client.Object) error {
			if claim != "" {
				annotate(object, claim)
			}
			w.SetReplicas(object, replicas)
			return remind(object, owners)
		})
		if !apierrors.IsConflict(err) || try == oweTries {
			return err
		}
		if object, err = h.Read(ctx, w, client.ObjectKeyFromObject(object)); err != nil {
			return err
		}
		if w.Inspect(object).Replicas != made {
			return nil
		}
	}
}
