package plan

import (
	"testing"

	policyv1 "k8s.io/api/policy/v1"
)

// A budget does not keep anybody from scaling, but may keep the stand-in where
// it is.
func TestBudgets(t *testing.T) {
	for name, c := range map[string]struct {
		spec string
		want []string
	}{
		"of others":       {"{selector: {matchLabels: {app: web}}, minAvailable: 1}", nil},
		"of nothing":      {"{minAvailable: 1}", nil},
		"one at least":    {"{selector: {matchLabels: {app: worker}}, minAvailable: 1}", []string{"notes DisruptionBudget: a drain of its node waits"}},
		"half at least":   {`{selector: {matchLabels: {app: worker}}, minAvailable: "50%"}`, []string{"notes DisruptionBudget: a drain of its node waits"}},
		"none at most":    {"{selector: {matchLabels: {app: worker}}, maxUnavailable: 0}", []string{"notes DisruptionBudget: a drain of its node waits"}},
		"one may be away": {"{selector: {matchLabels: {app: worker}}, maxUnavailable: 1}", []string{"notes DisruptionBudget: it covers the stand-in meanwhile"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, worker, func(w *World) {
				w.Budgets = seeing[policyv1.PodDisruptionBudget](t, "{metadata: {name: b}, spec: "+c.spec+"}")
			})
			got := budgets(w)
			expect(t, got, c.want...)
			if name == "one may be away" && len(got) == 1 && keepsTheOnly(&w.Budgets.Items[0]) {
				t.Error("it is said to keep the only pod")
			}
		})
	}
}
