package session

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// pauseApplications switches off the automated sync of the Applications of Argo
// CD that deploy the target. Where that cannot be done it says so and goes on: the
// hold keeps itself at zero all the same.
//
// What each was is in the Session's record, acknowledged, before its own
// annotation and the switch are written, in one patch. A kill in between leaves
// one that is recorded and was never paused, which is seen from its annotations.
func (v *visit) pauseApplications(ctx context.Context) error {
	for _, key := range hold.ApplicationsOf(v.object, v.ArgoCD) {
		application, err := v.holder().ReadApplication(ctx, key)
		if unreachable(err) {
			continue
		}
		if err != nil {
			return err
		}
		if !hold.Deploys(application, v.kind.Kind(), v.session.Namespace, v.session.Spec.Target.Name) {
			continue
		}
		if err := v.pauseApplication(ctx, application); err != nil {
			return err
		}
	}
	return nil
}

// unreachable: it is not there, or the operator was not given the right to it.
func unreachable(err error) bool {
	return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err)
}

func (v *visit) pauseApplication(ctx context.Context, application *unstructured.Unstructured) error {
	name := "application " + client.ObjectKeyFromObject(application).String()
	enabled, automated := v1alpha1.Syncs(application.Object)
	pauses, _ := v1alpha1.Pauses(application.GetAnnotations(), application.GetUID())
	ours := slices.ContainsFunc(pauses, func(p v1alpha1.Pause) bool { return p.Session == v.session.UID })
	switch {
	case !automated && (ours || len(pauses) == 0):
		// It is ours already, or nobody wants it to sync.
		return nil
	case !automated:
		// Others have switched it off, and know what it was.
		enabled = pauses[len(pauses)-1].Enabled
	case hold.WrittenBySet(application) != "":
		v.eventOnBoth(corev1.EventTypeNormal, "ApplicationNotPaused", "Hold", fmt.Sprintf(
			"Automated sync of %s goes on: ApplicationSet %s would switch it on again. Have that one ignore /spec/syncPolicy and switch it off there, or have the application ignore the number.", name, hold.WrittenBySet(application)))
		return nil
	}
	owners := hold.ObserveApplication(application, v.session.UID).Rightful()
	if v.recordApplication(v1alpha1.Application{Namespace: application.GetNamespace(), Name: application.GetName(), UID: application.GetUID(), Enabled: enabled, Owners: owners}) {
		if err := v.save(ctx); err != nil {
			return err
		}
	}
	paused, err := v.holder().PauseApplication(ctx, application, v1alpha1.NewPause(application.GetUID(), v.session, enabled, v.since()), owners)
	switch {
	case unreachable(err):
		v.eventOnBoth(corev1.EventTypeWarning, "ApplicationNotPaused", "Hold", fmt.Sprintf("Automated sync of %s goes on: %v.", name, err))
		return nil
	case err != nil:
		return err
	case !paused:
		v.eventOnBoth(corev1.EventTypeNormal, "ApplicationNotPaused", "Hold", "Automated sync of "+name+" goes on: its switch, spec.syncPolicy.automated.enabled, is there from Argo CD 3.1 on.")
		return nil
	}
	if automated {
		note := "Switched off the automated sync of " + name + "; it is switched on again when the last session that wants it so has ended."
		v.eventOnBoth(corev1.EventTypeNormal, "ApplicationPaused", "Hold", note)
		v.tellApplication(application, "ApplicationPaused", "Hold", "Automated sync is switched off: "+v.targetName()+" is held.")
	}
	return v.giveBackSwitch(ctx, application, owners)
}

// giveBackSwitch gives it to those who owned it, so that who applies the
// Application meanwhile meets no conflict. Nobody owned what was not there.
func (v *visit) giveBackSwitch(ctx context.Context, application *unstructured.Unstructured, owners []v1alpha1.FieldOwner) error {
	if len(owners) == 0 {
		return nil
	}
	return v.holder().GiveBackApplication(ctx, application, owners, true)
}

// recordApplication notes what it was before it is paused.
func (v *visit) recordApplication(was v1alpha1.Application) (changed bool) {
	record := v.status().Record
	i := slices.IndexFunc(record.Applications, func(a v1alpha1.Application) bool { return a.UID == was.UID })
	switch {
	case i < 0:
		record.Applications = append(record.Applications, was)
	case record.Applications[i].Enabled != was.Enabled || !ownership.SameOwners(record.Applications[i].Owners, was.Owners):
		record.Applications[i] = was
	default:
		return false
	}
	return true
}

// keepApplications puts this session's annotation on again where somebody has
// taken it off. An Application that somebody has switched on again stays on.
func (v *visit) keepApplications(ctx context.Context) error {
	for _, was := range v.status().Record.Applications {
		application, err := v.holder().ReadApplication(ctx, client.ObjectKey{Namespace: was.Namespace, Name: was.Name})
		if unreachable(err) {
			continue
		}
		if err != nil {
			return err
		}
		seen := hold.ObserveApplication(application, v.session.UID)
		ours := seen.OwnNumber || ownership.SameOwners(seen.Owners, was.Owners) || v1alpha1.Paused(application.GetAnnotations())
		if seen.UID != was.UID || seen.Replicas != 0 || seen.State == ownership.ClaimOurs || !ours {
			continue
		}
		if _, err := v.holder().PauseApplication(ctx, application, v1alpha1.NewPause(was.UID, v.session, was.Enabled, v.since()), was.Owners); err != nil && !unreachable(err) {
			return err
		}
	}
	return nil
}

// resumeApplications gives them back, last of all: what is in Git is in force
// again once the number is back.
func (v *visit) resumeApplications(ctx context.Context) error {
	if v.status().Record == nil {
		return nil
	}
	var failures []error
	for i, was := range slices.Backward(v.status().Record.Applications) {
		if was.Resumed {
			continue
		}
		err := v.resumeApplication(ctx, was)
		for try := 1; try < conflictTries && apierrors.IsConflict(err); try++ {
			err = v.resumeApplication(ctx, was)
		}
		if err != nil && !apierrors.IsConflict(err) {
			err = fmt.Errorf("application %s/%s does not sync by itself yet: %w%s", was.Namespace, was.Name, err, v.toSet(err, "gitops.argoCD.namespaces"))
		}
		v.status().Record.Applications[i].Resumed = err == nil
		failures = append(failures, err)
	}
	return all(failures...)
}

func (v *visit) resumeApplication(ctx context.Context, was v1alpha1.Application) error {
	application, err := v.holder().ReadApplication(ctx, client.ObjectKey{Namespace: was.Namespace, Name: was.Name})
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	seen := hold.ObserveApplication(application, v.session.UID)
	if seen.UID != was.UID {
		return v.resumeCopy(ctx, application, was)
	}
	own := v1alpha1.PausePrefix + string(v.session.UID)
	pauses, _ := v1alpha1.Pauses(application.GetAnnotations(), was.UID)
	over, wanted := []string{own}, false
	enabled := was.Enabled
	for _, p := range pauses {
		if p.Session == v.session.UID {
			if enabled = p.Enabled; p.Owners != nil {
				was.Owners = p.Owners
			}
			continue
		}
		other, err := v.livingIn(ctx, p.Namespace, p.Name, p.Session)
		if err != nil {
			return err
		}
		if other == nil {
			over = append(over, p.Key())
		}
		wanted = wanted || other != nil
	}
	if wanted {
		if !seen.Annotated && len(over) == 1 {
			return nil
		}
		return v.holder().LeaveApplication(ctx, application, over...)
	}
	record := &v1alpha1.Record{UID: was.UID, Replicas: 1, ReplicaOwners: was.Owners}
	switch ownership.DecideReturn(record, seen, true) {
	case ownership.ReturnNumber:
		if err := v.holder().ResumeApplication(ctx, application, enabled, was.Owners); err != nil {
			return err
		}
		name := "application " + client.ObjectKeyFromObject(application).String()
		v.eventOnBoth(corev1.EventTypeNormal, "ApplicationResumed", "Restore", "Automated sync of "+name+" is as it was.")
		v.tellApplication(application, "ApplicationResumed", "Restore", "Automated sync is as it was.")
	case ownership.ReturnClaim:
		if err := v.holder().LeaveApplication(ctx, application, hold.PauseKeys(application)...); err != nil {
			return err
		}
	case ownership.ReturnNothing:
		if !seen.OwnEntry {
			return nil
		}
	}
	var owners []v1alpha1.FieldOwner
	if now, _ := v1alpha1.Syncs(application.Object); now != "" && now == enabled {
		owners = was.Owners
	}
	return v.holder().GiveBackApplication(ctx, application, owners, false)
}

// resumeCopy is for an Application that was made anew, under the name of the one that
// was paused: from a copy of that it is off, and still says why.
func (v *visit) resumeCopy(ctx context.Context, application *unstructured.Unstructured, was v1alpha1.Application) error {
	seen := hold.ObserveApplication(application, v.session.UID)
	for _, p := range v1alpha1.CopiedPauses(application.GetAnnotations(), seen.UID) {
		if p.Application != was.UID || p.Session != v.session.UID || seen.Replicas != 0 {
			continue
		}
		owners := seen.Rightful()
		if err := v.holder().ResumeApplication(ctx, application, p.Enabled, owners); err != nil {
			return err
		}
		v.eventOnBoth(corev1.EventTypeNormal, "ApplicationResumed", "Restore", "Automated sync of application "+client.ObjectKeyFromObject(application).String()+", which was made anew from a copy, is on again.")
		v.tellApplication(application, "ApplicationResumed", "Restore", "Automated sync is on again; this was made from a copy of one that was paused.")
		return v.holder().GiveBackApplication(ctx, application, owners, false)
	}
	return nil
}

// leaveApplications says of those that could not be given back, and whose session
// goes with its namespace, what a person has to do: they are of other namespaces.
func (v *visit) leaveApplications(ctx context.Context) {
	record := v.status().Record
	if record == nil {
		return
	}
	for _, was := range record.Applications {
		if was.Resumed {
			continue
		}
		note := fmt.Sprintf("Automated sync is still off for session %s, whose namespace is being deleted, and the operator may not switch it on: `understudy restore --all` does it for who may, or set spec.syncPolicy.automated.enabled as it was and take the annotation %s%s off.",
			v.key(), v1alpha1.PausePrefix, v.session.UID)
		log.FromContext(ctx).Info("an application is left off", "application", was.Namespace+"/"+was.Name, "do", note)
		v.tellOfApplication(client.ObjectKey{Namespace: was.Namespace, Name: was.Name}, was.UID, corev1.EventTypeWarning, "ApplicationLeftPaused", "Restore", note)
	}
}

// tellApplication is for what people look for at the Application itself.
func (r *Reconciler) tellApplication(application *unstructured.Unstructured, reason, action, note string) {
	r.tellOfApplication(client.ObjectKeyFromObject(application), application.GetUID(), corev1.EventTypeNormal, reason, action, note)
}

func (r *Reconciler) tellOfApplication(application client.ObjectKey, uid types.UID, kind, reason, action, note string) {
	if r.Events == nil {
		return
	}
	ref := &corev1.ObjectReference{Namespace: application.Namespace, Name: application.Name, UID: uid}
	ref.APIVersion, ref.Kind = hold.ApplicationKind.ToAPIVersionAndKind()
	r.Events.Eventf(ref, nil, kind, reason, action, "%s", cut(note, maxNote))
}
