package plan

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// Whether there is room for the stand-in. The agent asks for 10m and 32Mi.
func TestQuotas(t *testing.T) {
	for name, c := range map[string]struct {
		quota string
		want  []string
	}{
		"room":              {`{hard: {pods: "4", requests.cpu: "2"}, used: {pods: "3", requests.cpu: 1500m}}`, nil},
		"just enough":       {`{hard: {requests.cpu: 1510m}, used: {requests.cpu: 1500m}}`, nil},
		"no pod":            {`{hard: {pods: "3"}, used: {pods: "3"}}`, []string{"blocks QuotaExceeded: pods: 3 of 3 are used, and the stand-in needs 1"}},
		"counted otherwise": {`{hard: {count/pods: "3"}, used: {count/pods: "3"}}`, []string{"blocks QuotaExceeded: count/pods: 3 of 3"}},
		"no memory":         {`{hard: {memory: 1Gi}, used: {memory: 1000Mi}}`, []string{"blocks QuotaExceeded: memory: 1000Mi of 1Gi are used, and the stand-in needs 32Mi"}},
		"no limit":          {`{hard: {limits.memory: 1Gi}, used: {limits.memory: 1000Mi}}`, []string{"blocks QuotaExceeded: limits.memory"}},
		"not stated":        {`{hard: {limits.cpu: "4"}, used: {limits.cpu: "0"}}`, []string{"blocks QuotaExceeded: limits.cpu: container app does not say"}},
		"no secret":         {`{hard: {count/secrets: "9"}, used: {count/secrets: "9"}}`, []string{"blocks QuotaExceeded: count/secrets"}},
		"of something else": {`{hard: {services: "1", requests.storage: 1Gi}, used: {services: "1", requests.storage: 1Gi}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, worker, func(w *World) {
				w.Quotas = seeing[corev1.ResourceQuota](t, "{metadata: {name: compute}, status: "+c.quota+"}")
			})
			expect(t, quotas(w), c.want...)
			// Of the pod the API server has spoken then, of what is beside it not.
			w.Trial.Taken = true
			if !strings.Contains(c.quota, "secrets") {
				c.want = nil
			}
			expect(t, quotas(w), c.want...)
		})
	}
}

// A quota counts what its scopes say.
func TestQuotaScopes(t *testing.T) {
	full := `status: {hard: {pods: "3"}, used: {pods: "3"}}`
	for scope, covered := range map[string]bool{
		"{scopes: [NotTerminating]}": true, "{scopes: [Terminating]}": false,
		"{scopes: [NotBestEffort]}": true, "{scopes: [BestEffort]}": false,
		"{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [high]}]}}":    false,
		"{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: NotIn, values: [high]}]}}": true,
		"{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: Exists}]}}":                false,
		"{scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: DoesNotExist}]}}":          true,
	} {
		w := shop(t, worker, func(w *World) {
			w.Quotas = seeing[corev1.ResourceQuota](t, "metadata: {name: compute}\nspec: "+scope+"\n"+full)
		})
		if got := len(quotas(w)) > 0; got != covered {
			t.Errorf("%s: counted is %v", scope, got)
		}
	}
}
