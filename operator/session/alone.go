package session

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
	"understudy.dev/understudy/operator/hold/standing"
)

// onlyOf is the workload of which the pod is the only one, before it is recorded;
// nil where it is not to remain so: whoever names one of several means that one.
func (v *visit) onlyOf(ctx context.Context) (*v1alpha1.WorkloadReference, error) {
	if !v.freezes() {
		return nil, nil
	}
	of, err := standing.WorkloadOf(v.pod, v.above(ctx))
	if err != nil || of == nil {
		return nil, err
	}
	only := &v1alpha1.WorkloadReference{APIVersion: of.APIVersion, Kind: of.Kind, Name: of.Name, UID: of.UID}
	c, err := v.beside(ctx, only)
	if err != nil {
		return nil, err
	}
	for i := range c.others {
		if wasThere(&c.others[i], v.session) {
			v.event(corev1.EventTypeWarning, "FreezeNotAlone", "Freeze", fmt.Sprintf("Meanwhile: pod %s of %s goes on, and takes what the frozen one does not.", c.others[i].Name, workloadName(only)))
			return nil, nil
		}
	}
	return only, v.warnOfAutoscalers(ctx, only)
}

// countedWithin is how long before a session was made its pods may have been counted:
// the command line tool gives as long to all that it asks before.
const countedWithin = 20 * time.Second

// wasThere says whether a pod was there when a session about another one was asked for.
// One that is younger may have come since, and is not taken for known.
func wasThere(other *corev1.Pod, session *v1alpha1.Session) bool {
	return other.CreationTimestamp.Time.Before(session.CreationTimestamp.Add(-countedWithin))
}

// warnOfAutoscalers says what may bring another pod, and so end the session. The
// operator sees those of KEDA; `understudy plan` sees the others too.
func (v *visit) warnOfAutoscalers(ctx context.Context, only *v1alpha1.WorkloadReference) error {
	scalers, err := v.autoscalers(ctx, schema.FromAPIVersionAndKind(only.APIVersion, only.Kind), only.Name)
	for _, s := range scalers {
		name := s.kind.Kind().Kind + " " + s.object.GetName()
		v.event(corev1.EventTypeWarning, "FreezeScaled", "Freeze", fmt.Sprintf("Meanwhile: %s; %s.", standing.MayBeScaled(name, workloadName(only)), standing.HoldWhole))
	}
	return err
}

// remainsAlone ends the session when its pod, which was the only one of its workload, no
// longer is: what the other takes is kept from nobody.
func remainsAlone(ctx context.Context, v *visit) (bool, error) {
	only := v.status().Frozen.OnlyOf
	if only == nil || !v.freezes() {
		return true, nil
	}
	c, err := v.beside(ctx, only)
	if err != nil {
		return false, err
	}
	v.Pods.EnsureBeside(v.key(), v.pod.UID, c.selector)
	if len(c.others) == 0 {
		return true, nil
	}
	// One that comes in its place is not beside it: then the pod's own end is why.
	var pod corev1.Pod
	err = v.Live.Get(ctx, client.ObjectKeyFromObject(v.pod), &pod)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading the pod: %w", err)
	}
	if err != nil || pod.UID != v.pod.UID || !pod.DeletionTimestamp.IsZero() {
		v.again(0)
		return false, nil
	}
	names := make([]string, len(c.others))
	for i := range c.others {
		names[i] = c.others[i].Name
	}
	return false, final(v1alpha1.ReasonTargetNotAlone, "%s", standing.NotAlone(v.pod.Name, names, workloadName(only), c.why))
}

// stillAlone looks once more before Ready is said: between the first look and then an
// agent was made.
func stillAlone(ctx context.Context, v *visit) (bool, error) {
	if v.is(v1alpha1.ConditionReady) {
		return true, nil
	}
	return remainsAlone(ctx, v)
}

// company is what there is beside a pod.
type company struct {
	others []corev1.Pod
	// why there are any, as far as the workload tells.
	why string
	// selector of the workload's pods; everything where it cannot be told.
	selector labels.Selector
}

// beside looks for other pods of the workload. Of a workload whose kind is known its
// selector is asked for, of any other all pods of the namespace.
func (v *visit) beside(ctx context.Context, only *v1alpha1.WorkloadReference) (company, error) {
	c := company{selector: labels.Everything()}
	kind, object, err := v.readWorkload(ctx, only)
	if err != nil {
		return c, err
	}
	workloads := []types.UID{only.UID}
	if object != nil {
		c.selector = kind.Inspect(object).Selector
	} else if of, err := standing.WorkloadOf(v.pod, v.above(ctx)); err != nil {
		return c, err
	} else if of != nil {
		workloads = append(workloads, of.UID) // which may have been made anew
	}
	var pods corev1.PodList
	if err := v.Live.List(ctx, &pods, client.InNamespace(v.session.Namespace), client.MatchingLabelsSelector{Selector: c.selector}); err != nil {
		return c, fmt.Errorf("looking for pods beside %s: %w", v.pod.Name, err)
	}
	c.others, err = standing.Beside(pods.Items, v.pod.UID, workloads, v.above(ctx))
	if object != nil && len(c.others) > 0 {
		seen, state := hold.Observe(kind, object, v.session.UID), kind.Inspect(object)
		writer := ownership.Writer(seen.Owners)
		if writer != "" {
			writer = hold.RivalOf(object, writer).Name
		}
		c.why = standing.Scaled(state.Replicas, writer, state.Rollout)
	}
	return c, err
}

// readWorkload reads it if it is of a kind that is known, may be read, and is the one
// that is meant; else it is nil.
func (v *visit) readWorkload(ctx context.Context, only *v1alpha1.WorkloadReference) (hold.Workload, client.Object, error) {
	of := schema.FromAPIVersionAndKind(only.APIVersion, only.Kind).GroupKind()
	for _, kind := range v.kinds() {
		if kind.Kind().GroupKind() != of {
			continue
		}
		object, err := v.holder().Read(ctx, kind, client.ObjectKey{Namespace: v.session.Namespace, Name: only.Name})
		switch {
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err), meta.IsNoMatchError(err):
			return nil, nil, nil
		case err != nil:
			return nil, nil, err
		case object.GetUID() != only.UID:
			return nil, nil, nil
		}
		return kind, object, nil
	}
	return nil, nil, nil
}

// above asks what controls a ReplicaSet or a Job, once in a visit.
func (v *visit) above(ctx context.Context) standing.Above {
	if v.controllers == nil {
		v.controllers = standing.Once(func(controller metav1.OwnerReference) (metav1.Object, error) {
			var object client.Object = &appsv1.ReplicaSet{}
			if controller.Kind == "Job" {
				object = &batchv1.Job{}
			}
			err := v.Live.Get(ctx, client.ObjectKey{Namespace: v.session.Namespace, Name: controller.Name}, object)
			if apierrors.IsNotFound(err) {
				return nil, nil
			}
			return object, err
		})
	}
	return v.controllers
}

// workloadName is it as people write it: "deployment worker".
func workloadName(only *v1alpha1.WorkloadReference) string {
	return strings.ToLower(only.Kind) + " " + only.Name
}
