package session

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// lease makes the Lease that the owner renews, and ends the session when that
// was not done for as long as the lease is.
func lease(ctx context.Context, v *visit) (bool, error) {
	v.heard = true
	current := &coordinationv1.Lease{}
	err := v.Live.Get(ctx, v.key(), current)
	if apierrors.IsNotFound(err) {
		current = v.newLease()
		err = v.Writer.Create(ctx, current, client.FieldOwner(hold.FieldManager))
	}
	if err != nil {
		return false, fmt.Errorf("keeping the lease: %w", err)
	}
	if !metav1.IsControlledBy(current, v.session) {
		return v.notOurs(ctx, current, "Lease")
	}
	v.Hearing.readOK()
	v.Hearing.Heard(v.key(), v.session.UID, current.ResourceVersion, v.status().Silence)
	silence := v.Hearing.Silence(v.key())
	if silence >= v.leaseDuration() {
		return false, expired(v.leaseDuration())
	}
	v.countSilence(current.ResourceVersion, silence)
	return true, nil
}

// countSilence keeps in the status what was counted. An operator that has just
// started may be one that crashes all the time, and writes down every step. One
// that has run for a whole lease writes once, after half of it: what it forgets
// when it crashes is half a lease at most, and the next one counts in small steps.
// Until then it looks at nothing: the watch hears the renewals, and who is silent
// is woken by Hearing. So when a thousand clients die at once there are a thousand
// writes before their restores, and none while they live.
func (v *visit) countSilence(version string, silence time.Duration) {
	duration := v.leaseDuration()
	v.Hearing.Mind(v.key(), duration)
	v.silent = silence >= duration/2
	if v.Hearing.Uptime() >= duration {
		if silence >= duration/2 && v.counted(version) < duration/2 {
			v.status().Silence = &v1alpha1.Silence{LeaseResourceVersion: version, Counted: metav1.Duration{Duration: silence}}
		}
		v.again(v.lookAnyway())
		return
	}
	every := max(duration/20, time.Second)
	counted := v.counted(version)
	if silence-counted >= every {
		v.status().Silence = &v1alpha1.Silence{LeaseResourceVersion: version, Counted: metav1.Duration{Duration: silence}}
		counted = silence
	}
	// The clock of silence moves with each successful read, a second apart.
	v.again(min(duration-silence, max(counted+every-silence, every/2)))
}

// counted is what was written down of the silence since a version of the lease.
func (v *visit) counted(version string) time.Duration {
	if s := v.status().Silence; s != nil && s.LeaseResourceVersion == version {
		return s.Counted.Duration
	}
	return 0
}

// lookAnyway is how often a session is looked at that nothing has woken: more
// often where something that it depends on is not watched, the queue before it,
// autoscalers, applications, the pod that it has frozen, jobs that a person begins of
// what is held.
func (v *visit) lookAnyway() time.Duration {
	_, jobs := v.kind.(hold.JobMaker)
	if record := v.status().Record; jobs && v.scalesDown() || v.onNode() || v.status().Queue != nil || record != nil && len(record.Autoscalers)+len(record.Applications) > 0 {
		return 20 * time.Second
	}
	return 5 * time.Minute
}

func (v *visit) newLease() *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: v.session.Name, Namespace: v.session.Namespace,
			Labels:          map[string]string{v1alpha1.SessionLabel: v.session.Name},
			OwnerReferences: []metav1.OwnerReference{v.ownerReference()},
		},
		Spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: ptr.To(int32(v.leaseDuration() / time.Second))},
	}
}

// ownerReference makes the garbage collector take away what was made for the
// session, and keeps controllers from adopting it.
func (v *visit) ownerReference() metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session", Name: v.session.Name, UID: v.session.UID,
		Controller: ptr.To(true),
	}
}

// notOurs clears what an earlier session of the same name left, before the
// garbage collector comes to it. What is somebody else's is left alone.
func (v *visit) notOurs(ctx context.Context, object client.Object, what string) (bool, error) {
	owner := metav1.GetControllerOf(object)
	if owner == nil || owner.Kind != "Session" || owner.Name != v.session.Name {
		return false, final(v1alpha1.ReasonStandInRefused, "there is a %s %s already that is not this session's", what, object.GetName())
	}
	uid := object.GetUID()
	if err := v.Writer.Delete(ctx, object, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("deleting the %s of an earlier session: %w", what, err)
	}
	v.again(settleEvery)
	return false, nil
}

// sessionOwner finds the session of a Lease or a stand-in that the watch showed.
func sessionOwner(object client.Object) (types.NamespacedName, types.UID, bool) {
	owner := metav1.GetControllerOf(object)
	if owner == nil || owner.Kind != "Session" {
		return types.NamespacedName{}, "", false
	}
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: owner.Name}, owner.UID, true
}
