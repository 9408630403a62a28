package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

var applicationsResource = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}

// applications gives those of Argo CD back that sessions kept from syncing by
// themselves, after everything that they deploy. They are in other namespaces than
// the sessions, so all are looked at; the pauses say whose they are.
func (r *restorer) applications(ctx context.Context) error {
	options := metav1.ListOptions{Limit: 500}
	var failures []error
	for {
		list, err := r.objects.Resource(applicationsResource).List(ctx, options)
		if apierrors.IsNotFound(err) {
			return nil // no Argo CD
		}
		if apierrors.IsForbidden(err) {
			r.Say("the applications of Argo CD are not looked at: %v", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", applicationsResource.GroupResource(), err)
		}
		for i := range list.Items {
			failures = append(failures, r.application(ctx, &list.Items[i]))
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return errors.Join(failures...)
		}
	}
}

// application gives one back, unless a session wants it paused that is in another
// namespace than what is to be restored.
func (r *restorer) application(ctx context.Context, application *unstructured.Unstructured) error {
	objects := r.objects.Resource(applicationsResource).Namespace(application.GetNamespace())
	name := "application " + application.GetNamespace() + "/" + application.GetName()
	told := false
	err := r.patiently(ctx, func() error {
		annotations := application.GetAnnotations()
		pauses, unreadable := v1alpha1.Pauses(annotations, application.GetUID())
		remembered := r.switchedOff(application)
		if !v1alpha1.Paused(annotations) && remembered == nil {
			return nil
		}
		wanted := slices.ContainsFunc(pauses, func(p v1alpha1.Pause) bool { return !r.looksAt(p.Namespace) })
		_, automated := v1alpha1.Syncs(application.Object)
		on := false
		switch {
		case automated, wanted:
		case remembered != nil && len(pauses) == 0:
			on = true
			if err := v1alpha1.SetSyncs(application.Object, remembered.Enabled); err != nil {
				return err
			}
		case len(pauses) > 0:
			on = true
			if err := v1alpha1.SetSyncs(application.Object, pauses[len(pauses)-1].Enabled); err != nil {
				return err
			}
		case len(unreadable) > 0:
			r.left++
			r.Say("%s does not sync by itself, and what it did before cannot be read: switch it on if it was, and take the annotations %s off", name, v1alpha1.PausePrefix)
			return nil
		case len(v1alpha1.CopiedPauses(annotations, application.GetUID())) > 0 && !told:
			told = true
			r.Say("%s was made from a copy of one whose automated sync was off for a session: it is left off; set spec.syncPolicy.automated.enabled if it is to be on", name)
		}
		before := len(annotations)
		for key := range annotations {
			if v1alpha1.Paused(map[string]string{key: ""}) && !r.others(pauses, key) {
				delete(annotations, key)
			}
		}
		if !on && len(annotations) == before {
			return nil
		}
		switch {
		case r.DryRun && on:
			r.Say("%s would sync by itself again", name)
			return nil
		case r.DryRun:
			r.Say("the pauses on %s would be taken off", name)
			return nil
		}
		application.SetAnnotations(annotations)
		written, err := objects.Update(ctx, application, metav1.UpdateOptions{FieldManager: fieldManager})
		if err == nil {
			if on {
				r.Say("%s syncs by itself again", name)
			} else {
				r.Say("the pauses on %s are taken off", name)
			}
			*application = *written
			return nil
		}
		if fresh, readErr := objects.Get(ctx, application.GetName(), metav1.GetOptions{}); readErr == nil {
			*application = *fresh
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("giving %s back: %w", name, err)
	}
	if r.DryRun || v1alpha1.Paused(application.GetAnnotations()) {
		return nil
	}
	return r.disown(ctx, applicationsResource, application)
}

// looksAt says whether a namespace is one of those that are to be restored.
func (r *restorer) looksAt(namespace string) bool {
	return r.Namespace == "" || r.Namespace == namespace
}

// others says whether the pause of that key is of a session elsewhere.
func (r *restorer) others(pauses []v1alpha1.Pause, key string) bool {
	return slices.ContainsFunc(pauses, func(p v1alpha1.Pause) bool { return p.Key() == key && !r.looksAt(p.Namespace) })
}

// switchedOff is what a Session remembers of an Application that is off by the
// operator's hand, though somebody has stripped the pause off it.
func (r *restorer) switchedOff(application *unstructured.Unstructured) *v1alpha1.Application {
	if !slices.ContainsFunc(application.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool { return e.Manager == operatorName }) {
		return nil
	}
	for i := range r.sessions {
		if record := r.sessions[i].Status.Record; record != nil && !restored(&r.sessions[i]) {
			if at := slices.IndexFunc(record.Applications, func(a v1alpha1.Application) bool { return a.UID == application.GetUID() }); at >= 0 {
				return &record.Applications[at]
			}
		}
	}
	return nil
}
