package session

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/clone"
)

// source is what the stand-in is made from: the target's template, the target
// itself if that is a pod, or else a pod that it controls, of a kind whose
// template cannot be told from the object; without a target it is nothing.
func (v *visit) source(ctx context.Context, opts clone.Options) (clone.Source, error) {
	if v.targetless() {
		return clone.FromNothing(v.session.Namespace, opts), nil
	}
	switch object := v.object.(type) {
	case *appsv1.StatefulSet:
		return clone.FromStatefulSet(object), nil
	case *corev1.Pod:
		return clone.FromPod(object), nil
	}
	template, err := v.kind.Template(ctx, v.Live, v.object)
	if err != nil {
		return clone.Source{}, err
	}
	if template != nil {
		return clone.FromTemplate(v.session.Namespace, *template), nil
	}
	pods, err := v.kind.Pods(ctx, v.Live, v.object)
	if err != nil {
		return clone.Source{}, err
	}
	for i := range pods {
		if pods[i].DeletionTimestamp.IsZero() {
			return clone.FromPod(&pods[i]), nil
		}
	}
	return clone.Source{}, final(v1alpha1.ReasonStandInRefused,
		"%s does not say what its pods are made from, and has none that could be copied: scale it up first", v.targetName())
}

// spec is the pod spec by which the container that is asked for is looked up;
// nil while there is none to look at.
func (v *visit) spec(ctx context.Context) (*corev1.PodSpec, error) {
	if pod, ok := v.object.(*corev1.Pod); ok {
		return &pod.Spec, nil
	}
	template, err := v.kind.Template(ctx, v.Live, v.object)
	if err != nil || template == nil {
		return nil, err
	}
	return &template.Spec, nil
}

func hasContainer(spec *corev1.PodSpec, name string) bool {
	named := func(c corev1.Container) bool { return c.Name == name }
	return slices.ContainsFunc(spec.Containers, named) ||
		slices.ContainsFunc(spec.InitContainers, func(c corev1.Container) bool {
			return named(c) && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		})
}
