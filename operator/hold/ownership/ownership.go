package ownership

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// The names that are written under. To either what the other has written is ours, for
// the other may have been killed before it took its name away.
const (
	// Manager is the operator's.
	Manager = "understudy-operator"
	// RestoreManager is that of an administrator's restore.
	RestoreManager = "understudy-restore"
)

// WasPausedAnnotation on an autoscaler is what it said of its pause before a
// session did.
const WasPausedAnnotation = "understudy.dev/was-paused"

// ownPaths are the annotations and labels of ours that a held object bears.
var ownPaths = func() [][]string {
	paths := [][]string{
		{"f:metadata", "f:annotations", "f:" + v1alpha1.ClaimAnnotation},
		{"f:metadata", "f:annotations", "f:" + WasPausedAnnotation},
	}
	for _, m := range v1alpha1.Marks {
		paths = append(paths, markPath(m.Key), markPath(m.Ours))
	}
	return paths
}()

// owedPath in somebody's entry says that they own the number of replicas and
// are to have it back. Who writes a number takes it from everybody else; the
// patch with which we do leaves this in their entries, so that the memory does
// not hang on our living to the next request. It is a path in managedFields
// alone: there is no such annotation, nothing copies it to ReplicaSets, and
// `rollout undo` does not bring it back.
var owedPath = []string{"f:metadata", "f:annotations", "f:understudy.dev/owed"}

// Ours says whether an entry is of one of the two.
func Ours(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == Manager || entry.Manager == RestoreManager
}

// Owners are the entries that own the field with the number, without our
// own. None is normal: the number may be a default that nobody asked for.
func Owners(fields []metav1.ManagedFieldsEntry, number []string) []v1alpha1.FieldOwner {
	var owners []v1alpha1.FieldOwner
	for _, entry := range fields {
		if !Ours(entry) && owns(entry, number) {
			owners = append(owners, ownerOf(entry))
		}
	}
	return owners
}

// Owed are the entries that are to have the number back. The mark counts only
// while the number is ours: else somebody has written another one since.
func Owed(fields []metav1.ManagedFieldsEntry, number []string) []v1alpha1.FieldOwner {
	var owners []v1alpha1.FieldOwner
	if !OwnsNumber(fields, number) {
		return nil
	}
	for _, entry := range fields {
		if !Ours(entry) && owns(entry, owedPath) && !owns(entry, number) {
			owners = append(owners, ownerOf(entry))
		}
	}
	return owners
}

// Owe is the managedFields with the mark of owedPath in the entries of the given
// owners, and in nobody else's. One whose entry is gone gets it again.
func Owe(fields []metav1.ManagedFieldsEntry, owners []v1alpha1.FieldOwner) ([]metav1.ManagedFieldsEntry, error) {
	left := slices.Clone(owners)
	var marked []metav1.ManagedFieldsEntry
	for _, entry := range fields {
		tree, err := parseFields(entry)
		if err != nil {
			return nil, err
		}
		had := unmark(tree)
		i := slices.IndexFunc(left, func(o v1alpha1.FieldOwner) bool { return sameOwner(o, ownerOf(entry)) })
		if i >= 0 && !Ours(entry) {
			left = slices.Delete(left, i, i+1)
			insert(tree, owedPath)
		} else if !had {
			marked = append(marked, entry)
			continue
		}
		if len(tree) == 0 {
			continue
		}
		if entry.FieldsV1, err = writeFields(tree); err != nil {
			return nil, err
		}
		marked = append(marked, entry)
	}
	for _, owner := range left {
		entry, err := entryOf(owner, owedPath)
		if err != nil {
			return nil, err
		}
		marked = append(marked, entry)
	}
	return marked, nil
}

// unmark takes the mark out of an entry, and the parents that were made for it.
func unmark(tree map[string]any) bool {
	metadata, _ := tree[owedPath[0]].(map[string]any)
	annotations, _ := metadata[owedPath[1]].(map[string]any)
	if _, marked := annotations[owedPath[2]]; !marked {
		return false
	}
	delete(annotations, owedPath[2])
	if len(annotations) == 0 {
		delete(metadata, owedPath[1])
	}
	if len(metadata) == 0 {
		delete(tree, owedPath[0])
	}
	return true
}

func entryOf(owner v1alpha1.FieldOwner, path []string) (metav1.ManagedFieldsEntry, error) {
	tree := map[string]any{}
	insert(tree, path)
	raw, err := writeFields(tree)
	return metav1.ManagedFieldsEntry{
		Manager: owner.Manager, Operation: owner.Operation, APIVersion: owner.APIVersion, Subresource: owner.Subresource,
		Time: owner.Time, FieldsType: "FieldsV1", FieldsV1: raw,
	}, err
}

// OwnsNumber says whether our own entry owns the number of replicas.
func OwnsNumber(fields []metav1.ManagedFieldsEntry, number []string) bool {
	return slices.ContainsFunc(fields, func(e metav1.ManagedFieldsEntry) bool {
		return Ours(e) && owns(e, number)
	})
}

// OwnsAnything says whether there is an entry of ours at all.
func OwnsAnything(fields []metav1.ManagedFieldsEntry) bool {
	return slices.ContainsFunc(fields, Ours)
}

// SoleUpdater names the manager to write a number as, so that its one owner has it
// back by the same write; where that cannot be, ourselves. Who applies, or writes by
// way of a subresource or in another version, has an entry of its own for that, which
// a patch of the object would not go to.
func SoleUpdater(owners []v1alpha1.FieldOwner, version string) (manager string, ok bool) {
	if len(owners) != 1 || owners[0].Operation != metav1.ManagedFieldsOperationUpdate || owners[0].Subresource != "" || owners[0].APIVersion != version {
		return Manager, false
	}
	return owners[0].Manager, true
}

// Writer names the manager that wrote the number last, of those that own it;
// empty when nobody else than we does.
func Writer(owners []v1alpha1.FieldOwner) string {
	var last *v1alpha1.FieldOwner
	for i := range owners {
		if last == nil || (owners[i].Time != nil && (last.Time == nil || last.Time.Before(owners[i].Time))) {
			last = &owners[i]
		}
	}
	if last == nil {
		return ""
	}
	return last.Manager
}

// SameOwners compares everything but the times.
func SameOwners(a, b []v1alpha1.FieldOwner) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.ContainsFunc(b, func(y v1alpha1.FieldOwner) bool { return sameOwner(x, y) }) {
			return false
		}
	}
	return true
}

func sameOwner(a, b v1alpha1.FieldOwner) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.APIVersion == b.APIVersion && a.Subresource == b.Subresource
}

func ownerOf(entry metav1.ManagedFieldsEntry) v1alpha1.FieldOwner {
	return v1alpha1.FieldOwner{Manager: entry.Manager, Operation: entry.Operation, APIVersion: entry.APIVersion, Subresource: entry.Subresource, Time: entry.Time}
}

// GiveBack is the managedFields with the number of replicas owned by the given
// owners again and no longer by us. Our entry keeps the claim while keepClaim;
// else, and when nothing else is in it, it goes. An owner whose entry is gone
// (it owned nothing but the number) gets it again, with the time that it had.
// changed is false when there is nothing to do.
func GiveBack(fields []metav1.ManagedFieldsEntry, number []string, owners []v1alpha1.FieldOwner, keepClaim bool) (given []metav1.ManagedFieldsEntry, changed bool, err error) {
	left := slices.Clone(owners)
	for _, entry := range fields {
		before := entry.FieldsV1
		tree, err := parseFields(entry)
		if err != nil {
			return nil, false, err
		}
		if Ours(entry) {
			remove(tree, number)
			if !keepClaim {
				for _, path := range ownPaths {
					remove(tree, path)
				}
			}
			if len(tree) == 0 {
				changed = true
				continue
			}
		} else {
			unmark(tree)
			if i := slices.IndexFunc(left, func(o v1alpha1.FieldOwner) bool { return sameOwner(o, ownerOf(entry)) }); i >= 0 {
				left = slices.Delete(left, i, i+1)
				insert(tree, number)
			}
			if len(tree) == 0 {
				changed = true
				continue
			}
		}
		if entry.FieldsV1, err = writeFields(tree); err != nil {
			return nil, false, err
		}
		if before == nil || !equalJSON(before.Raw, entry.FieldsV1.Raw) {
			changed = true
		} else {
			entry.FieldsV1 = before
		}
		given = append(given, entry)
	}
	for _, owner := range left {
		entry, err := entryOf(owner, number)
		if err != nil {
			return nil, false, err
		}
		given = append(given, entry)
		changed = true
	}
	return given, changed, nil
}

func owns(entry metav1.ManagedFieldsEntry, path []string) bool {
	tree, err := parseFields(entry)
	if err != nil {
		// The API server wrote it; what it cannot say it does not say.
		return false
	}
	for i, key := range path {
		next, ok := tree[key]
		if !ok {
			return false
		}
		if i == len(path)-1 {
			return true
		}
		if tree, ok = next.(map[string]any); !ok {
			return false
		}
	}
	return false
}

func parseFields(entry metav1.ManagedFieldsEntry) (map[string]any, error) {
	tree := map[string]any{}
	if entry.FieldsV1 == nil || len(entry.FieldsV1.Raw) == 0 {
		return tree, nil
	}
	if err := json.Unmarshal(entry.FieldsV1.Raw, &tree); err != nil {
		return nil, fmt.Errorf("reading the managed fields of %q: %w", entry.Manager, err)
	}
	return tree, nil
}

func writeFields(tree map[string]any) (*metav1.FieldsV1, error) {
	raw, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("writing managed fields: %w", err)
	}
	return &metav1.FieldsV1{Raw: raw}, nil
}

func insert(tree map[string]any, path []string) {
	for _, key := range path {
		next, ok := tree[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[key] = next
		}
		tree = next
	}
}

// remove takes the path out, and every parent that holds nothing but the mark
// of its own existence (".") afterwards: whoever made the map for one key
// owned it for that key alone.
func remove(tree map[string]any, path []string) {
	child, ok := tree[path[0]].(map[string]any)
	if !ok {
		return
	}
	if len(path) > 1 {
		before := len(child)
		remove(child, path[1:])
		_, marked := child["."]
		if len(child) == before || len(child) > 1 || (len(child) == 1 && !marked) {
			return
		}
	}
	delete(tree, path[0])
}

func equalJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	xa, errA := json.Marshal(x)
	yb, errB := json.Marshal(y)
	return errA == nil && errB == nil && bytes.Equal(xa, yb)
}
