package restore

import (
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// owedPath in somebody's entry of managedFields says that they are to have the number
// back, as the operator says it too: who writes a number takes it from everybody else,
// and this is left by the same request, so that a run that is killed after it loses
// nothing.
var owedPath = []string{"f:metadata", "f:annotations", "f:understudy.dev/owed"}

func ours(e metav1.ManagedFieldsEntry) bool {
	return e.Manager == fieldManager || e.Manager == operatorName
}

func pathOf(field []string) []string {
	var path []string
	for _, key := range field {
		path = append(path, "f:"+key)
	}
	return path
}

// owners are those of an object's number: who a Session remembers, else who owns it
// beside us or is to have it back.
func (r *restorer) owners(object *unstructured.Unstructured, field []string) ([]v1alpha1.FieldOwner, error) {
	if record := r.record(object.GetUID()); record != nil && len(record.ReplicaOwners) > 0 {
		return record.ReplicaOwners, nil
	}
	var owners []v1alpha1.FieldOwner
	for _, entry := range object.GetManagedFields() {
		tree, err := parse(entry)
		if err != nil {
			return nil, err
		}
		if !ours(entry) && (has(tree, pathOf(field)) || has(tree, owedPath)) {
			owners = append(owners, v1alpha1.FieldOwner{Manager: entry.Manager, Operation: entry.Operation, APIVersion: entry.APIVersion, Subresource: entry.Subresource, Time: entry.Time})
		}
	}
	return owners, nil
}

// owe marks the entries of owners, and makes those that are gone anew.
func owe(fields []metav1.ManagedFieldsEntry, owners []v1alpha1.FieldOwner) ([]metav1.ManagedFieldsEntry, error) {
	fields = slices.Clone(fields)
	for _, owner := range owners {
		i := slices.IndexFunc(fields, func(e metav1.ManagedFieldsEntry) bool {
			return e.Manager == owner.Manager && e.Operation == owner.Operation && e.APIVersion == owner.APIVersion && e.Subresource == owner.Subresource
		})
		if i < 0 {
			fields = append(fields, metav1.ManagedFieldsEntry{
				Manager: owner.Manager, Operation: owner.Operation, APIVersion: owner.APIVersion, Subresource: owner.Subresource, Time: owner.Time, FieldsType: "FieldsV1",
			})
			i = len(fields) - 1
		}
		tree, err := parse(fields[i])
		if err != nil {
			return nil, err
		}
		insert(tree, owedPath)
		if fields[i].FieldsV1, err = write(tree); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// giveBack takes our entries away, and gives the number to whom it is owed. The mark
// counts while the number is ours: else somebody has written another one since.
func giveBack(object *unstructured.Unstructured, field []string) ([]metav1.ManagedFieldsEntry, error) {
	var given []metav1.ManagedFieldsEntry
	written := false
	for _, entry := range object.GetManagedFields() {
		tree, err := parse(entry)
		if err != nil {
			return nil, err
		}
		written = written || ours(entry) && has(tree, pathOf(field))
	}
	for _, entry := range object.GetManagedFields() {
		if ours(entry) {
			continue
		}
		tree, err := parse(entry)
		if err != nil {
			return nil, err
		}
		if has(tree, owedPath) {
			for depth := len(owedPath); depth > 0; depth-- {
				if below, _, _ := unstructured.NestedMap(tree, owedPath[:depth]...); len(below) > 0 {
					break
				}
				unstructured.RemoveNestedField(tree, owedPath[:depth]...)
			}
			if written {
				insert(tree, pathOf(field))
			}
			if len(tree) == 0 {
				continue
			}
			if entry.FieldsV1, err = write(tree); err != nil {
				return nil, err
			}
		}
		given = append(given, entry)
	}
	return given, nil
}

func has(tree map[string]any, path []string) bool {
	_, found, err := unstructured.NestedFieldNoCopy(tree, path...)
	return found && err == nil
}

func insert(tree map[string]any, path []string) {
	if !has(tree, path) {
		_ = unstructured.SetNestedMap(tree, map[string]any{}, path...)
	}
}

func parse(entry metav1.ManagedFieldsEntry) (map[string]any, error) {
	tree := map[string]any{}
	if entry.FieldsV1 == nil || len(entry.FieldsV1.GetRawBytes()) == 0 {
		return tree, nil
	}
	if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &tree); err != nil {
		return nil, fmt.Errorf("reading the managed fields of %q: %w", entry.Manager, err)
	}
	return tree, nil
}

func write(tree map[string]any) (*metav1.FieldsV1, error) {
	raw, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("writing managed fields: %w", err)
	}
	fields := &metav1.FieldsV1{}
	fields.SetRawBytes(raw)
	return fields, nil
}
