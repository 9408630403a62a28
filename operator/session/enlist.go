package session

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// enlist puts the finalizer on, before there is anything to undo.
func enlist(ctx context.Context, v *visit) (bool, error) {
	return true, v.finalizer(ctx, controllerutil.AddFinalizer)
}

func (v *visit) finalizer(ctx context.Context, change func(client.Object, string) bool) error {
	before, status := v.session.DeepCopy(), v.session.Status
	if !change(v.session, v1alpha1.Finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := v.Writer.Patch(ctx, v.session, patch, client.FieldOwner(hold.FieldManager))
	// The answer has the status as it was last saved.
	v.session.Status = status
	if err != nil {
		v.gone = apierrors.IsNotFound(err)
		return fmt.Errorf("writing the finalizer: %w", err)
	}
	return nil
}
