package restore

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Annotations beside the claim: KEDA's own, and what ours keeps of it.
const (
	pausedAnnotation    = "autoscaling.keda.sh/paused"
	wasPausedAnnotation = "understudy.dev/was-paused"
)

func into(object *unstructured.Unstructured, target any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, target); err != nil {
		return fmt.Errorf("decoding %s: %w", object.GetKind(), err)
	}
	return nil
}

// decision is what is to be done with one object.
type decision int

const (
	nothing decision = iota
	// number: write it and take the claim off.
	number
	// claim: take it off; the number is somebody's.
	claim
	// copied: take it off, but say what is in it. It is of another object, from
	// which this one was made, at zero; and its number is written nowhere else.
	copied
	// person: nobody knows the number.
	person
)

// decide goes by the object's own claim; where that cannot be read, or was
// stripped off, by what a Session remembers of an object that is still at zero.
func decide(object *unstructured.Unstructured, field []string, remembered int32, held bool) (decision, int32) {
	value, annotated := object.GetAnnotations()[v1alpha1.ClaimAnnotation]
	zero := atZero(object, field)
	read, err := v1alpha1.ParseClaim(value)
	switch {
	case !annotated && held && zero && remembered != 0:
		return number, remembered
	case !annotated && v1alpha1.Marked(object.GetLabels()):
		return claim, 0
	case !annotated:
		return nothing, 0
	case err != nil && zero && held:
		return number, remembered
	case err != nil && zero:
		return person, 0
	case err == nil && read.Workload == object.GetUID() && zero && read.Replicas != 0:
		return number, read.Replicas
	case err == nil && read.Workload != object.GetUID() && zero && read.Replicas != 0:
		return copied, read.Replicas
	}
	return claim, 0
}

// fieldOf is the field that a hold brings to zero.
func fieldOf(resource schema.GroupVersionResource) []string {
	switch resource.Group {
	case "batch":
		return []string{"spec", "suspend"}
	case "keda.sh":
		return []string{"metadata", "annotations", pausedAnnotation}
	}
	return []string{"spec", "replicas"}
}

func atZero(object *unstructured.Unstructured, field []string) bool {
	value, found, err := unstructured.NestedFieldNoCopy(object.Object, field...)
	if err != nil {
		return false
	}
	if !found {
		// Left out, and no kind's default that we know: it is not what somebody wants.
		return field[len(field)-1] == "replicas" && object.GroupVersionKind().GroupKind() != schema.GroupKind{Group: "argoproj.io", Kind: "Rollout"}
	}
	switch v := value.(type) {
	case bool:
		return v
	case int64:
		return v == 0
	case string:
		paused, err := strconv.ParseBool(v)
		return err != nil || paused
	}
	return false
}

// workload looks at one object and puts it back if it is held.
func (r *restorer) workload(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured) error {
	name := fmt.Sprintf("%s %s/%s", resource.Resource, object.GetNamespace(), object.GetName())
	objects := r.objects.Resource(resource).Namespace(object.GetNamespace())
	field := fieldOf(resource)
	told := false
	err := r.patiently(ctx, func() error {
		remembered, held := r.remembered(object.GetUID())
		what, replicas := decide(object, field, remembered, held)
		if what == copied && r.targeted(resource, object) {
			// Made anew while it was held, from what was read of it.
			what = number
		}
		switch what {
		case nothing:
			return nil
		case person:
			r.left++
			r.Say("%s is at zero, and what it was cannot be read: set its number by hand and take the annotation %s off", name, v1alpha1.ClaimAnnotation)
			return nil
		case number:
			if r.DryRun {
				r.Say("%s would be put back: %s", name, describe(field, replicas))
				return nil
			}
			owners, err := r.owners(object, field)
			if err != nil {
				return err
			}
			put(object, field, replicas)
			fields, err := owe(object.GetManagedFields(), owners)
			if err != nil {
				return err
			}
			object.SetManagedFields(fields)
		case claim:
			if r.DryRun {
				r.Say("the claim on %s would be taken off", name)
				return nil
			}
		case copied:
			if !told {
				r.Say("%s was made at zero with a claim that is of another object, which had %s: it is left at zero; if it is to have that too, set it by hand", name, describe(field, replicas))
			}
			told = true
			if r.DryRun {
				r.Say("the claim on %s would be taken off", name)
				return nil
			}
		}
		annotations := object.GetAnnotations()
		delete(annotations, v1alpha1.ClaimAnnotation)
		delete(annotations, wasPausedAnnotation)
		object.SetAnnotations(annotations)
		labels := object.GetLabels()
		v1alpha1.Unmark(labels, r.marks(object.GetUID())...)
		object.SetLabels(labels)
		// By its version: whoever wrote in between is looked at first.
		written, err := objects.Update(ctx, object, metav1.UpdateOptions{FieldManager: fieldManager})
		if err == nil {
			if what == number {
				r.Say("%s is put back: %s", name, describe(field, replicas))
			} else {
				r.Say("the claim on %s is taken off", name)
			}
			*object = *written
			return nil
		}
		if fresh, readErr := objects.Get(ctx, object.GetName(), metav1.GetOptions{}); readErr == nil {
			*object = *fresh
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("putting %s back: %w", name, err)
	}
	if r.DryRun {
		return nil
	}
	return r.disown(ctx, resource, object)
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
		if was, there := annotations[wasPausedAnnotation]; there {
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
		return "not paused"
	}
	return fmt.Sprintf("replicas: %d", replicas)
}

// disown takes our names off the managed fields and gives the number to those who
// owned it, so that the team's next apply meets no conflict and decides it again. It makes the object's controller look once more, too.
func (r *restorer) disown(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured) error {
	objects := r.objects.Resource(resource).Namespace(object.GetNamespace())
	err := r.patiently(ctx, func() error {
		if !slices.ContainsFunc(object.GetManagedFields(), ours) {
			return nil
		}
		fresh, err := objects.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if _, claimed := fresh.GetAnnotations()[v1alpha1.ClaimAnnotation]; claimed {
			return nil
		}
		fields, err := giveBack(fresh, fieldOf(resource))
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
