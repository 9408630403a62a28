package ownership

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What an administrator's restore has written before it was killed is ours: the number
// is still owed to whom it says, and nothing of it is left once that is given back.
func TestRestoreIsNoStranger(t *testing.T) {
	number := []string{"f:spec", "f:replicas"}
	fields := []metav1.ManagedFieldsEntry{
		{Manager: "team", Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(`{"f:metadata": {"f:annotations": {"f:understudy.dev/owed": {}}}, "f:spec": {"f:selector": {}}}`)},
		{Manager: RestoreManager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: metav1.NewFieldsV1(`{"f:spec": {"f:replicas": {}}}`)},
	}
	owed := Owed(fields, number)
	if len(Owners(fields, number)) != 0 || len(owed) != 1 || owed[0].Manager != "team" {
		t.Fatalf("it is owned by %+v and owed to %+v", Owners(fields, number), owed)
	}
	given, changed, err := GiveBack(fields, number, owed, false)
	if err != nil || !changed || len(given) != 1 || !owns(given[0], number) || owns(given[0], owedPath) {
		t.Errorf("given back it is %+v (%v)", given, err)
	}
}
