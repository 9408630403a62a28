package hold

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/ownership"
)

// ApplicationKind is Argo CD's. One is no workload and is not held: its automated
// sync is switched off while something that it deploys is held. That switch is
// the least that keeps Argo CD from writing: the application is still compared,
// can be synced by hand, and says itself that it is off. An application that is in
// Git of another one and says nothing of the switch there does not count as
// changed by it.
var ApplicationKind = schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application"}

// enabledField is the switch, in the notation of managedFields.
var enabledField = []string{"f:spec", "f:syncPolicy", "f:automated", "f:enabled"}

// instanceLabels are by which Argo CD knows what is its own where it does not go
// by the annotation. The first is everybody's: it proves nothing by itself.
var instanceLabels = []string{"app.kubernetes.io/instance", "argocd.argoproj.io/instance"}

// ApplicationsOf names the Applications that an object may belong to. Argo CD
// itself is in the first of the namespaces; an Application in another one has that
// before its name.
func ApplicationsOf(object client.Object, namespaces []string) []types.NamespacedName {
	if len(namespaces) == 0 {
		return nil
	}
	tracked, _, _ := strings.Cut(object.GetAnnotations()["argocd.argoproj.io/tracking-id"], ":")
	names := []string{tracked}
	for _, label := range instanceLabels {
		names = append(names, object.GetLabels()[label])
	}
	var found []types.NamespacedName
	for _, name := range names {
		key := types.NamespacedName{Namespace: namespaces[0], Name: name}
		if namespace, rest, elsewhere := strings.Cut(name, "_"); elsewhere {
			key = types.NamespacedName{Namespace: namespace, Name: rest}
		}
		if key.Name != "" && slices.Contains(namespaces, key.Namespace) && !slices.Contains(found, key) {
			found = append(found, key)
		}
	}
	return found
}

// Deploys says whether an Application itself lists an object among those that it
// deploys.
func Deploys(application *unstructured.Unstructured, kind schema.GroupVersionKind, namespace, name string) bool {
	resources, _, _ := unstructured.NestedSlice(application.Object, "status", "resources")
	return slices.ContainsFunc(resources, func(r any) bool {
		content, ok := r.(map[string]any)
		return ok && textAt(content, "group") == kind.Group && textAt(content, "kind") == kind.Kind &&
			textAt(content, "namespace") == namespace && textAt(content, "name") == name
	})
}

// WrittenBySet names the ApplicationSet that makes an Application and would write
// over whatever is changed in it; empty for none.
func WrittenBySet(application client.Object) string {
	if owner := metav1.GetControllerOf(application); owner != nil && owner.Kind == "ApplicationSet" {
		return owner.Name
	}
	return ""
}

// ReadApplication gets one as it is now.
func (h Holder) ReadApplication(ctx context.Context, key client.ObjectKey) (*unstructured.Unstructured, error) {
	application := emptyOf(ApplicationKind)
	if err := h.Get(ctx, key, application); err != nil {
		return nil, fmt.Errorf("reading application %s: %w", key, err)
	}
	return application, nil
}

// ObserveApplication looks at an Application with the eyes of a session, as
// Observe does at a workload: 1 is that it syncs by itself.
func ObserveApplication(application *unstructured.Unstructured, session types.UID) ownership.Observed {
	o := ownership.Observed{
		UID:       application.GetUID(),
		Owners:    ownership.Owners(application.GetManagedFields(), enabledField),
		OwnNumber: ownership.OwnsNumber(application.GetManagedFields(), enabledField),
		OwnEntry:  ownership.OwnsAnything(application.GetManagedFields()),
		Owed:      ownership.Owed(application.GetManagedFields(), enabledField),
	}
	if _, automated := v1alpha1.Syncs(application.Object); automated {
		o.Replicas = 1
	}
	var value string
	if value, o.Annotated = application.GetAnnotations()[v1alpha1.PausePrefix+string(session)]; !o.Annotated {
		return o
	}
	switch pause, err := v1alpha1.ParsePause(value); {
	case err != nil:
		o.State, o.Damage = ownership.ClaimDamaged, err
	case pause.Application == o.UID && pause.Session == session:
		o.State = ownership.ClaimOurs
	}
	return o
}

// PauseApplication writes a session's pause, and switches automated sync off if it
// is on, in one patch. The others that want it off are told what it was. It
// answers false, and writes nothing, if this Argo CD has no such switch, which is
// seen from a dry run.
func (h Holder) PauseApplication(ctx context.Context, application *unstructured.Unstructured, pause v1alpha1.Pause, owners []v1alpha1.FieldOwner) (bool, error) {
	_, automated := v1alpha1.Syncs(application.Object)
	change := func(object client.Object) error {
		content := object.(*unstructured.Unstructured)
		annotations := annotationsOf(content)
		if automated {
			others, _ := v1alpha1.Pauses(annotations, content.GetUID())
			for _, other := range others {
				other.Enabled, other.Owners = pause.Enabled, owners
				annotations[other.Key()] = other.String()
			}
			// It is a map where it syncs by itself.
			_ = v1alpha1.SetSyncs(content.Object, "false")
		}
		annotations[pause.Key()] = pause.String()
		content.SetAnnotations(annotations)
		if !automated {
			return nil
		}
		return remind(content, owners)
	}
	if automated {
		trial := application.DeepCopy()
		if err := h.patch(ctx, "trying to pause application", trial, change, client.DryRunAll); err != nil {
			return false, err
		}
		if _, still := v1alpha1.Syncs(trial.Object); still {
			return false, nil
		}
	}
	return true, h.patch(ctx, "pausing application", application, change)
}

// LeaveApplication takes the pauses of these keys off, and leaves the switch as it
// is.
func (h Holder) LeaveApplication(ctx context.Context, application *unstructured.Unstructured, keys ...string) error {
	return h.patch(ctx, "taking the pause off application", application, func(object client.Object) error {
		dropPauses(object, keys)
		return nil
	})
}

// ResumeApplication has the switch say again what it said, and takes every pause
// off, in one patch.
func (h Holder) ResumeApplication(ctx context.Context, application *unstructured.Unstructured, enabled string, owners []v1alpha1.FieldOwner) error {
	return h.patch(ctx, "resuming application", application, func(object client.Object) error {
		content := object.(*unstructured.Unstructured)
		// It is off, so there is a map.
		_ = v1alpha1.SetSyncs(content.Object, enabled)
		dropPauses(content, PauseKeys(content))
		if enabled == "" {
			return nil // nobody owns what is not there
		}
		return remind(content, owners)
	})
}

// GiveBackApplication gives the ownership of the switch back to these, and what is
// left of ours up unless a pause is kept.
func (h Holder) GiveBackApplication(ctx context.Context, application *unstructured.Unstructured, owners []v1alpha1.FieldOwner, keep bool) error {
	fields, changed, err := ownership.GiveBack(application.GetManagedFields(), enabledField, owners, keep)
	if err != nil || !changed {
		return err
	}
	return h.patch(ctx, "giving back the field ownership of application", application, func(object client.Object) error {
		object.SetManagedFields(fields)
		return nil
	})
}

// PauseKeys are the keys of all pauses, whatever they are worth.
func PauseKeys(application client.Object) []string {
	var keys []string
	for key := range application.GetAnnotations() {
		if strings.HasPrefix(key, v1alpha1.PausePrefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

func annotationsOf(object client.Object) map[string]string {
	if annotations := object.GetAnnotations(); annotations != nil {
		return annotations
	}
	return map[string]string{}
}

func dropPauses(object client.Object, keys []string) {
	annotations := object.GetAnnotations()
	for _, key := range keys {
		delete(annotations, key)
	}
	if len(annotations) == 0 {
		annotations = nil
	}
	object.SetAnnotations(annotations)
}
