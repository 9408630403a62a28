package hold

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/ownership"
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

// Observe looks at a workload with the eyes of a session.
func Observe(w Workload, object client.Object, session types.UID) ownership.Observed {
	state := w.Inspect(object)
	return ownership.Observe(object, w.Field(), state.Replicas, state.Unset, session)
}

// Claim writes the claim and leaves the number alone.
func (h Holder) Claim(ctx context.Context, object client.Object, claim Claim) error {
	return h.patch(ctx, "claiming", object, func(object client.Object) error {
		annotate(object, claim.String())
		return nil
	})
}

// Zero brings the workload to zero, with the claim and the marks in the same
// patch, and with who is to have the number's ownership back: see GiveBack. A
// RemadeError is that the API server has made another number of the zero.
func (h Holder) Zero(ctx context.Context, w Workload, object client.Object, claim Claim, owners []v1alpha1.FieldOwner, marks ...v1alpha1.Mark) error {
	return h.number(ctx, "scaling to zero", w, object, func(object client.Object) error {
		annotate(object, claim.String())
		w.SetReplicas(object, 0)
		putMarks(object, marks)
		return remind(object, owners)
	})
}

// Return puts the number back and takes the claim away, and the marks, in one
// patch. Where the number had one owner that can be written for, it is written in
// its name and is its own at once; else the patch says who is to have it back: see
// GiveBack. remembered are the marks that a record knows of. A RemadeError is that the
// API server has made another number of it: then the claim, if there was one, is on it
// again, and the number still to be put back.
func (h Holder) Return(ctx context.Context, w Workload, object client.Object, replicas int32, owners []v1alpha1.FieldOwner, remembered ...string) error {
	owner, sole := ownership.SoleUpdater(owners, w.Kind().GroupVersion().String())
	claim := object.GetAnnotations()[v1alpha1.ClaimAnnotation]
	err := h.number(ctx, "putting back the replicas of", w, object, func(object client.Object) error {
		clearClaim(object)
		takeMarks(object, remembered)
		w.SetReplicas(object, replicas)
		if !sole {
			return remind(object, owners)
		}
		fields, _, err := ownership.GiveBack(object.GetManagedFields(), w.Field(), owners, false)
		object.SetManagedFields(fields)
		return err
	}, client.FieldOwner(owner))
	if !IsRemade(err) {
		return err
	}
	if owed := h.owe(ctx, w, object, claim, replicas, owners); owed != nil {
		// A conflict of the second is none of the first.
		return fmt.Errorf("%w; %s", err, owed.Error())
	}
	return err
}

func remind(object client.Object, owners []v1alpha1.FieldOwner) error {
	fields, err := ownership.Owe(object.GetManagedFields(), owners)
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
		annotations := object.GetAnnotations()
		delete(annotations, ownership.WasPausedAnnotation) // somebody has set the pause since
		object.SetAnnotations(annotations)
		return nil
	})
}

// GiveBack gives the number's ownership back: see ownership.GiveBack.
// It answers whether there was something to do.
func (h Holder) GiveBack(ctx context.Context, w Workload, object client.Object, owners []v1alpha1.FieldOwner, keepClaim bool) (bool, error) {
	fields, changed, err := ownership.GiveBack(object.GetManagedFields(), w.Field(), owners, keepClaim)
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
	if err := h.Writer.Patch(ctx, object, patch, append([]client.PatchOption{client.FieldOwner(FieldManager)}, options...)...); err != nil {
		return fmt.Errorf("%s %s/%s: %w", what, object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

func annotate(object client.Object, claim string) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.ClaimAnnotation] = claim
	object.SetAnnotations(annotations)
}

func clearClaim(object client.Object) {
	annotations := object.GetAnnotations()
	delete(annotations, v1alpha1.ClaimAnnotation)
	object.SetAnnotations(annotations)
}
