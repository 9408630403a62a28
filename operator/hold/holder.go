package hold

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Holder makes the changes that were decided. Each is one request, conditional
// on the version of the object that was decided upon: a conflict error means
// that the world has changed and that the decision is to be made anew. The
// object is replaced by the API server's answer.
type Holder struct {
	API
}

// Read gets the object as it is now.
func (h Holder) Read(ctx context.Context, w Workload, key client.ObjectKey) (client.Object, error) {
	object := w.New()
	if err := h.Get(ctx, key, object); err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", w.Resource().Resource, key, err)
	}
	return object, nil
}

// Claim writes the claim and leaves the number alone.
func (h Holder) Claim(ctx context.Context, object client.Object, claim Claim) error {
	return h.patch(ctx, "claiming", object, func(object client.Object) error {
		annotate(object, claim)
		return nil
	})
}

// Zero brings the workload to zero, with the claim and the marks in the same
// patch, and with who is to have the number's ownership back: see GiveBack.
func (h Holder) Zero(ctx context.Context, w Workload, object client.Object, claim Claim, owners []v1alpha1.FieldOwner, marks ...v1alpha1.Mark) error {
	return h.patch(ctx, "scaling to zero", object, func(object client.Object) error {
		annotate(object, claim)
		w.SetReplicas(object, 0)
		putMarks(object, marks)
		return remind(object, owners)
	})
}

// Return puts the number back and takes the claim away, and the marks, in one
// patch, with who is to have the number's ownership back: see GiveBack. remembered
// are the marks that a record knows of.
func (h Holder) Return(ctx context.Context, w Workload, object client.Object, replicas int32, owners []v1alpha1.FieldOwner, remembered ...string) error {
	return h.patch(ctx, "putting back the replicas of", object, func(object client.Object) error {
		clearClaim(object)
		takeMarks(object, remembered)
		w.SetReplicas(object, replicas)
		return remind(object, owners)
	})
}

func remind(object client.Object, owners []v1alpha1.FieldOwner) error {
	fields, err := owe(object.GetManagedFields(), owners)
	if err == nil {
		object.SetManagedFields(fields)
	}
	return err
}

// Drop takes the claim away, and the marks, and leaves the number alone.
func (h Holder) Drop(ctx context.Context, object client.Object, remembered ...string) error {
	return h.patch(ctx, "taking the claim off", object, func(object client.Object) error {
		clearClaim(object)
		takeMarks(object, remembered)
		return nil
	})
}

// GiveBack gives the number's ownership back: see the function of that name.
// It answers whether there was something to do.
func (h Holder) GiveBack(ctx context.Context, w Workload, object client.Object, owners []v1alpha1.FieldOwner, keepClaim bool) (bool, error) {
	fields, changed, err := GiveBack(object.GetManagedFields(), w.Field(), owners, keepClaim)
	if err != nil || !changed {
		return false, err
	}
	return true, h.patch(ctx, "giving back the field ownership of", object, func(object client.Object) error {
		object.SetManagedFields(fields)
		return nil
	})
}

func (h Holder) patch(ctx context.Context, what string, object client.Object, change func(client.Object) error, options ...client.PatchOption) error {
	before := object.DeepCopyObject().(client.Object)
	if err := change(object); err != nil {
		return fmt.Errorf("%s %s/%s: %w", what, object.GetNamespace(), object.GetName(), err)
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := h.Writer.Patch(ctx, object, patch, append(options, client.FieldOwner(FieldManager))...); err != nil {
		return fmt.Errorf("%s %s/%s: %w", what, object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

func annotate(object client.Object, claim Claim) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.ClaimAnnotation] = claim.String()
	object.SetAnnotations(annotations)
}

func clearClaim(object client.Object) {
	annotations := object.GetAnnotations()
	delete(annotations, v1alpha1.ClaimAnnotation)
	object.SetAnnotations(annotations)
}
