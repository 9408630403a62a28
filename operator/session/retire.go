package session

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// retire takes the finalizer off once nothing is held, and away what its owner
// could use. A session that ended by itself stays for a while, to be read.
func retire(ctx context.Context, v *visit) (bool, error) {
	deleted := !v.session.DeletionTimestamp.IsZero()
	bears := controllerutil.ContainsFinalizer(v.session, v1alpha1.Finalizer)
	if bears {
		if err := v.takeAway(ctx); err != nil {
			return false, err
		}
	}
	if err := v.save(ctx); err != nil {
		return false, err
	}
	if err := v.finalizer(ctx, controllerutil.RemoveFinalizer); err != nil {
		return false, err
	}
	v.returns.done(v.key())
	if deleted {
		v.gone = true
		v.forget(v.key())
		return true, nil
	}
	if bears {
		v.retired()
	}
	left := v.condition(v1alpha1.ConditionReady).LastTransitionTime.Add(v.keepFinal()).Sub(v.now())
	if left > 0 {
		v.next = 0
		v.again(min(left, time.Minute))
		return true, nil
	}
	if err := v.Writer.Delete(ctx, v.session.DeepCopy(), client.Preconditions{UID: &v.session.UID}); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("deleting the ended session: %w", err)
	}
	v.gone = true
	return true, nil
}

// takeAway deletes what was made for the session. The garbage collector would
// take it with the Session only, some time after it, and not at all if who
// deletes the Session has its dependents orphaned.
func (v *visit) takeAway(ctx context.Context) error {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v.session.Namespace, Name: name}
	}
	objects := []client.Object{
		&rbacv1.RoleBinding{ObjectMeta: meta(grantName(v.session.Name))},
		&rbacv1.Role{ObjectMeta: meta(grantName(v.session.Name))},
	}
	if agent := v.status().Agent; agent != nil && agent.Namespace == "" {
		// The keys are deleted unseen: the operator may not read Secrets. Up to
		// this number they are ours, for each was made before it was counted.
		for number := int32(1); number <= agent.Incarnation; number++ {
			objects = append(objects, &corev1.Secret{ObjectMeta: meta(secretName(v.session.Name, number))})
		}
	}
	objects = append(objects, &coordinationv1.Lease{ObjectMeta: meta(v.session.Name)})
	// Each is tried whatever becomes of the others, and of the errors the first in
	// this order is said, so that the same is said the next time.
	failures := make([]error, len(objects))
	var group errgroup.Group
	group.SetLimit(2) // of as many sessions at once as there are workers
	for i, object := range objects {
		group.Go(func() error {
			failures[i] = v.deleteOwn(ctx, object)
			return failures[i]
		})
	}
	if group.Wait() == nil {
		return nil
	}
	return cmp.Or(failures...)
}

// deleteOwn deletes an object only if it is this session's.
func (v *visit) deleteOwn(ctx context.Context, object client.Object) error {
	if _, unread := object.(*corev1.Secret); unread {
		// The operator may read no Secret. A policy lets it delete only those
		// that bear a session's label and name; another one is not ours.
		if err := v.Writer.Delete(ctx, object); client.IgnoreNotFound(err) != nil && !apierrors.IsForbidden(err) {
			return fmt.Errorf("deleting %T %s: %w", object, object.GetName(), err)
		}
		return nil
	}
	err := v.Live.Get(ctx, client.ObjectKeyFromObject(object), object)
	orphaned := metav1.GetControllerOf(object) == nil && object.GetLabels()[v1alpha1.SessionLabel] == v.session.Name
	if err == nil && (orphaned || metav1.IsControlledBy(object, v.session)) {
		uid := object.GetUID()
		err = v.Writer.Delete(ctx, object, client.Preconditions{UID: &uid})
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %T %s: %w", object, object.GetName(), err)
	}
	return nil
}
