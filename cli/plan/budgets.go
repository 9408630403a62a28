package plan

import (
	"fmt"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// budgets says what disruption budgets are about here: evictions, and not a
// workload that is scaled.
func budgets(w *World) []Finding {
	if w.standIn == nil || w.Target.None() {
		return nil
	}
	var found []Finding
	for i := range w.Budgets.Items {
		budget := &w.Budgets.Items[i]
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err != nil || budget.Spec.Selector == nil || !selector.Matches(labels.Set(w.standIn.Labels)) {
			continue
		}
		says := fmt.Sprintf("disruption budget %s covers the stand-in too", budget.Name)
		if w.scalesDown() {
			says = fmt.Sprintf("disruption budget %s is about evictions and does not keep the target from being scaled; it covers the stand-in meanwhile", budget.Name)
		}
		if w.scalesDown() && keepsTheOnly(budget) {
			found = append(found, Finding{DisruptionBudget, Notes, says + ", so that a drain of its node waits until the session has ended", ""})
			continue
		}
		found = append(found, Finding{DisruptionBudget, Notes, says, ""})
	}
	return found
}

// keepsTheOnly says whether a budget lets the only pod that there is not be
// evicted.
func keepsTheOnly(budget *policyv1.PodDisruptionBudget) bool {
	scaled := func(number *intstr.IntOrString) int {
		n, err := intstr.GetScaledValueFromIntOrPercent(number, 1, true)
		if err != nil {
			return 0
		}
		return n
	}
	switch {
	case budget.Spec.MinAvailable != nil:
		return scaled(budget.Spec.MinAvailable) > 0
	case budget.Spec.MaxUnavailable != nil:
		return scaled(budget.Spec.MaxUnavailable) < 1
	}
	return false
}
