package restore

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/ownership"
)

// pausedAnnotation is KEDA's own.
const pausedAnnotation = "autoscaling.keda.sh/paused"

func into(object *unstructured.Unstructured, target any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, target); err != nil {
		return fmt.Errorf("decoding %s: %w", object.GetKind(), err)
	}
	return nil
}

// workload looks at one object and puts it back if it is held.
func (r *restorer) workload(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured) error {
	name := fmt.Sprintf("%s %s/%s", resource.Resource, object.GetNamespace(), object.GetName())
	if resource.Resource == "replicasets" && metav1.GetControllerOf(object) != nil {
		r.expectOwner(object)
		return r.clean(ctx, resource, object)
	}
	field := fieldOf(resource)
	told, remade, claimed := verdict{}, false, ""
	err := r.patiently(ctx, func() error {
		m := r.memory(object)
		what := decide(object, field, m, r.targeted(resource, object))
		if what != told {
			r.foretell(name, field, what)
			told = what
		}
		if r.DryRun || what.decision == nothing || what.decision == person {
			return nil
		}
		if what.decision == number {
			if err := returned(object, field, what.replicas, m); err != nil {
				return err
			}
		}
		claimed = object.GetAnnotations()[v1alpha1.ClaimAnnotation]
		release(object, m)
		if err := r.update(ctx, resource, object); err != nil {
			return err
		}
		made, unset := numberOf(object, field)
		switch {
		case what.decision != number:
			r.Say("the claim on %s is taken off", name)
		case made == what.replicas && !unset:
			r.Say("%s is put back: %s", name, describe(field, what.replicas))
		default:
			remade = true
			r.Say("%s is not back: %s was written, and %s came of it: a mutating webhook or policy of the cluster changes what is written; have it let this through, and run this again", name, describe(field, what.replicas), describe(field, made))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("putting %s back: %w", name, err)
	}
	switch {
	case r.DryRun:
		return nil
	case remade:
		r.left++
		return r.claimAgain(ctx, resource, object, claimed)
	}
	if told.decision != nothing || r.memory(object) != nil {
		r.expect(resource, object.GetNamespace(), object.GetName(), object.GetUID())
	}
	if err := r.disown(ctx, resource, object); err != nil || told.decision == nothing {
		return err
	}
	return r.noteReturned(ctx, object.GetUID())
}

// clean takes off a ReplicaSet what its controller has copied to it: the number is the
// controller's, and follows that one's own.
func (r *restorer) clean(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured) error {
	err := r.patiently(ctx, func() error {
		annotations := object.GetAnnotations()
		if _, claimed := annotations[v1alpha1.ClaimAnnotation]; r.DryRun || !claimed {
			return nil
		}
		delete(annotations, v1alpha1.ClaimAnnotation)
		object.SetAnnotations(annotations)
		return r.update(ctx, resource, object)
	})
	if err != nil {
		return fmt.Errorf("taking what was copied off replicasets %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

// claimAgain is for a number that was not taken, with a write that took the claim off:
// it puts that on again, unless somebody has written another number. Our name is left
// on the number, so that it is told from theirs.
func (r *restorer) claimAgain(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured, claimed string) error {
	if claimed == "" {
		return nil
	}
	made, _ := numberOf(object, fieldOf(resource))
	err := r.patiently(ctx, func() error {
		if now, _ := numberOf(object, fieldOf(resource)); now != made {
			return nil
		}
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1alpha1.ClaimAnnotation] = claimed
		object.SetAnnotations(annotations)
		return r.update(ctx, resource, object)
	})
	if err != nil {
		return fmt.Errorf("claiming %s %s/%s again: %w", resource.Resource, object.GetNamespace(), object.GetName(), err)
	}
	return nil
}

// foretell says what is left to a person, or is left as it is; and of a dry run what
// else would be done.
func (r *restorer) foretell(name string, field []string, what verdict) {
	switch {
	case what.decision == person:
		r.left++
		r.Say("%s is at zero, and what it was cannot be read: set its number by hand and take the annotation %s off", name, v1alpha1.ClaimAnnotation)
	case what.decision == copied:
		r.Say("%s was made at zero with a claim that is of another object, which had %s: it is left at zero; if it is to have that too, set it by hand", name, describe(field, what.replicas))
	case what.kept != "":
		r.Say("%s is left at %s, which %s has set since; before it had %s", name, describe(field, 0), what.kept, describe(field, what.replicas))
	}
	switch {
	case !r.DryRun:
	case what.decision == number:
		r.Say("%s would be put back: %s", name, describe(field, what.replicas))
	case what.decision == claim, what.decision == copied:
		r.Say("the claim on %s would be taken off", name)
	}
}

// returned has an object its number again, and says in the same write who is to own it.
func returned(object *unstructured.Unstructured, field []string, replicas int32, m *memory) error {
	owners := owners(object, field, m)
	put(object, field, replicas)
	fields, err := ownership.Owe(object.GetManagedFields(), owners)
	if err == nil {
		object.SetManagedFields(fields)
	}
	return err
}

// release takes the claim off, and the marks.
func release(object *unstructured.Unstructured, m *memory) {
	annotations := object.GetAnnotations()
	delete(annotations, v1alpha1.ClaimAnnotation)
	delete(annotations, ownership.WasPausedAnnotation)
	object.SetAnnotations(annotations)
	var remembered []string
	if m != nil {
		remembered = m.record.Marks
	}
	labels := object.GetLabels()
	v1alpha1.Unmark(labels, ownership.UnownedMarks(object, remembered...)...)
	object.SetLabels(labels)
}

// update writes an object by its version: whoever wrote in between is looked at
// first. It becomes what the API server has of it, also when that refuses.
func (r *restorer) update(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured) error {
	objects := r.objects.Resource(resource).Namespace(object.GetNamespace())
	written, err := objects.Update(ctx, object, metav1.UpdateOptions{FieldManager: fieldManager})
	if err == nil {
		*object = *written
		return nil
	}
	if fresh, readErr := objects.Get(ctx, object.GetName(), metav1.GetOptions{}); readErr == nil {
		*object = *fresh
	}
	return err
}

// targeted says whether the claim on an object is of a session that holds what
// has the object's name, so that the object that was claimed was here before it.
func (r *restorer) targeted(resource schema.GroupVersionResource, object *unstructured.Unstructured) bool {
	read, err := v1alpha1.ParseClaim(object.GetAnnotations()[v1alpha1.ClaimAnnotation])
	return err == nil && slices.ContainsFunc(r.sessions, func(s v1alpha1.Session) bool {
		target := s.Spec.Target
		return s.UID == read.Session && s.Namespace == object.GetNamespace() && s.Status.HeldAt != nil && !restored(&s) &&
			target.Group == resource.Group && target.Resource == resource.Resource && target.Name == object.GetName()
	})
}

func put(object *unstructured.Unstructured, field []string, replicas int32) {
	switch field[len(field)-1] {
	case "suspend":
		_ = unstructured.SetNestedField(object.Object, replicas == 0, field...)
	case pausedAnnotation:
		annotations := object.GetAnnotations()
		if was, there := annotations[ownership.WasPausedAnnotation]; there {
			annotations[pausedAnnotation] = was
		} else {
			delete(annotations, pausedAnnotation)
		}
		object.SetAnnotations(annotations)
	default:
		_ = unstructured.SetNestedField(object.Object, int64(replicas), field...)
	}
}

func describe(field []string, replicas int32) string {
	switch field[len(field)-1] {
	case "suspend":
		return fmt.Sprintf("suspend: %t", replicas == 0)
	case pausedAnnotation:
		if replicas == 0 {
			return "paused"
		}
		return "not paused"
	}
	return fmt.Sprintf("replicas: %d", replicas)
}

// disown takes our names off the managed fields and gives the number to those who
// owned it, so that the team's next apply meets no conflict and decides it again. It makes the object's controller look once more, too.
func (r *restorer) disown(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured) error {
	objects := r.objects.Resource(resource).Namespace(object.GetNamespace())
	err := r.patiently(ctx, func() error {
		if !slices.ContainsFunc(object.GetManagedFields(), ownership.Ours) {
			return nil
		}
		fresh, err := objects.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if _, claimed := fresh.GetAnnotations()[v1alpha1.ClaimAnnotation]; claimed {
			return nil
		}
		fields, err := withoutUs(fresh, fieldOf(resource))
		if err != nil {
			return err
		}
		fresh.SetManagedFields(fields)
		_, err = objects.Update(ctx, fresh, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	if err != nil {
		return fmt.Errorf("giving back the field ownership of %s %s/%s: %w", resource.Resource, object.GetNamespace(), object.GetName(), err)
	}
	return nil
}
