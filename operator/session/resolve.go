package session

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// resolve reads the target, through exactly the group and resource that
// admission checked the owner's rights on.
func resolve(ctx context.Context, v *visit) (bool, error) {
	target := v.session.Spec.Target
	if err := v.look(ctx); err != nil {
		return false, err
	}
	begun := v.status().HeldAt != nil || v.status().ReadyAt != nil
	if begun {
		// What happens to the workload from now on is answered by the steps
		// that hold it, its refusal too.
		return true, nil
	}
	switch {
	case v.object == nil:
		return false, final(v1alpha1.ReasonTargetNotFound, "there is no %s in namespace %s", v.targetName(), v.session.Namespace)
	case v.object.GetUID() != target.UID:
		return false, final(v1alpha1.ReasonTargetReplaced, "%s was deleted and made anew since the session was asked for: start another session", v.targetName())
	}
	if err := v.refusal(); err != nil {
		return false, err
	}
	if err := v.replaced(ctx); err != nil {
		return false, err
	}
	spec, err := v.spec(ctx)
	if err != nil {
		return false, err
	}
	if spec != nil && !hasContainer(spec, target.Container) {
		return false, final(v1alpha1.ReasonContainerNotFound, "the pods of %s have no container %s", v.targetName(), target.Container)
	}
	return true, nil
}

// refusal is why the workload must not be held as it is now. It is asked before
// every write of a zero over a number, not only before the first one: somebody may
// change it, or make another one in its place, while the session lives. A session
// that ends by it leaves the number that it has found.
func (v *visit) refusal() error {
	state := v.kind.Inspect(v.object)
	if c := state.Controller; c != nil {
		return final(v1alpha1.ReasonTargetControlled, "%s is controlled by %s %s, which would undo what is done to it: name that as the target", v.targetName(), c.Kind, c.Name)
	}
	if v.scalesDown() && state.Refusal != "" {
		return final(v1alpha1.ReasonHoldRefused, "%s cannot be held: %s", v.targetName(), state.Refusal)
	}
	if v.scalesDown() && state.Restarts != "" && !v.session.Spec.RestartOK {
		return final(v1alpha1.ReasonHoldRefused, "%s is not held without its owner's word: %s (--restart-ok allows it)", v.targetName(), state.Restarts)
	}
	return nil
}

// replaced refuses a Deployment that is at zero because a Rollout runs its pods:
// who holds it holds nothing.
func (v *visit) replaced(ctx context.Context) error {
	if _, is := v.kind.(hold.Deployment); !is || !v.scalesDown() || v.seen.Replicas != 0 || v.seen.State != ownership.ClaimNone {
		return nil
	}
	rollout, err := hold.InPlaceOf(ctx, v.Live, client.ObjectKeyFromObject(v.object))
	if errors.Is(err, hold.ErrRolloutsUnseen) {
		return final(v1alpha1.ReasonTargetControlled, "%s is at zero, and whether a rollout runs its pods the operator cannot see: the chart's value workloads.argoRollouts gives it the right", v.targetName())
	}
	if err != nil || rollout == "" {
		return err
	}
	return final(v1alpha1.ReasonTargetControlled, "%s is at zero because rollout %s runs its pods: name that as the target (rollout/%s)", v.targetName(), rollout, rollout)
}

// look reads the workload as it is now into the visit.
func (v *visit) look(ctx context.Context) error {
	target := v.session.Spec.Target
	kind, err := v.learn(ctx, groupResource(target))
	if err != nil {
		return err
	}
	object, err := v.holder().Read(ctx, kind, client.ObjectKey{Namespace: v.session.Namespace, Name: target.Name})
	if meta.IsNoMatchError(err) {
		return &finalError{reason: v1alpha1.ReasonTargetUnsupported, message: "the cluster has no " + groupResource(target).String(), absent: true}
	}
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	v.kind = kind
	if !cached(kind) {
		v.targets.Ensure(v.key(), kind.Kind(), client.ObjectKey{Namespace: v.session.Namespace, Name: target.Name})
	}
	if apierrors.IsNotFound(err) {
		v.object, v.seen = nil, ownership.Observed{}
		return nil
	}
	v.see(object)
	return nil
}

// learn finds the kind that a target names, with what the cluster knows of it.
func (r *Reconciler) learn(ctx context.Context, resource schema.GroupResource) (hold.Workload, error) {
	kind, ok := r.kinds().For(resource)
	if !ok {
		return nil, final(v1alpha1.ReasonTargetUnsupported, "%s cannot be taken over; custom resources can that the chart was told of (workloads.custom)", resource)
	}
	kind, err := hold.Learn(ctx, r.Live, kind)
	if message, no := hold.IsNotScalable(err); no {
		return nil, &finalError{reason: v1alpha1.ReasonTargetUnsupported, message: message, absent: hold.IsAbsent(err)}
	}
	return kind, err
}

// see takes an object that was just read or written as the present state.
func (v *visit) see(object client.Object) {
	v.object = object
	v.seen = hold.Observe(v.kind, object, v.session.UID)
}
