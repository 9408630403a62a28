package restore

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/ownership"
)

// owners are those of an object's number: who a Session remembers, else who owns it
// beside us or is to have it back, and always who has applied our zero.
func owners(object *unstructured.Unstructured, field []string, m *memory) []v1alpha1.FieldOwner {
	seen := observe(object, field, "")
	if m == nil || len(m.record.ReplicaOwners) == 0 || len(ownership.Joined(&m.record, seen)) > 0 {
		return seen.Rightful()
	}
	return m.record.ReplicaOwners
}

// withoutUs takes our entries away, and gives the number to whom it is owed.
func withoutUs(object *unstructured.Unstructured, field []string) ([]metav1.ManagedFieldsEntry, error) {
	fields, path := object.GetManagedFields(), pathOf(field)
	given, _, err := ownership.GiveBack(fields, path, ownership.Owed(fields, path), false)
	return slices.DeleteFunc(given, ownership.Ours), err
}
