package ownership

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// UnownedMarks are those of the remembered marks that are on an object and that no
// other manager of fields owns.
func UnownedMarks(object metav1.Object, remembered ...string) []string {
	return slices.DeleteFunc(slices.Clone(remembered), func(key string) bool {
		return object.GetLabels()[key] != v1alpha1.MarkValue || len(Owners(object.GetManagedFields(), markPath(key))) > 0
	})
}

func markPath(key string) []string { return []string{"f:metadata", "f:labels", "f:" + key} }
