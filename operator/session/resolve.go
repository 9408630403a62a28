package session

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
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
		// that hold it.
		return true, nil
	}
	switch {
	case v.object == nil:
		return false, final(v1alpha1.ReasonTargetNotFound, "there is no %s in namespace %s", v.targetName(), v.session.Namespace)
	case v.object.GetUID() != target.UID:
		return false, final(v1alpha1.ReasonTargetReplaced, "%s was deleted and made anew since the session was asked for: start another session", v.targetName())
	}
	state := v.kind.Inspect(v.object)
	if c := state.Controller; c != nil {
		return false, final(v1alpha1.ReasonTargetControlled, "%s is controlled by %s %s, which would undo what is done to it: name that as the target", v.targetName(), c.Kind, c.Name)
	}
	if !hasContainer(state.Template, target.Container) {
		return false, final(v1alpha1.ReasonContainerNotFound, "the pods of %s have no container %s", v.targetName(), target.Container)
	}
	return true, nil
}

// look reads the workload as it is now into the visit.
func (v *visit) look(ctx context.Context) error {
	target := v.session.Spec.Target
	kind, ok := v.kinds().For(groupResource(target))
	if !ok {
		return final(v1alpha1.ReasonTargetUnsupported, "%s cannot be taken over", groupResource(target))
	}
	object, err := v.holder().Read(ctx, kind, client.ObjectKey{Namespace: v.session.Namespace, Name: target.Name})
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	v.kind = kind
	if apierrors.IsNotFound(err) {
		v.object, v.seen = nil, hold.Observed{}
		return nil
	}
	v.see(object)
	return nil
}

// see takes an object that was just read or written as the present state.
func (v *visit) see(object client.Object) {
	v.object = object
	v.seen = hold.Observe(v.kind, object, v.session.UID)
}

func hasContainer(template *corev1.PodTemplateSpec, name string) bool {
	named := func(c corev1.Container) bool { return c.Name == name }
	return slices.ContainsFunc(template.Spec.Containers, named) ||
		slices.ContainsFunc(template.Spec.InitContainers, func(c corev1.Container) bool {
			return named(c) && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		})
}
