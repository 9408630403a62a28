package plan

import (
	"fmt"

	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// podSecurity asks the checks of the API server itself about the stand-in, at
// the level that the namespace enforces. What a cluster enforces in every
// namespace, and whom it exempts, is in its API server's configuration alone.
func podSecurity(w *World) []Finding {
	if w.standIn == nil || w.tried() || len(w.Namespace.Items) == 0 {
		return nil
	}
	privileged := podsecurity.LevelVersion{Level: podsecurity.LevelPrivileged, Version: podsecurity.LatestVersion()}
	enforced, _ := podsecurity.PolicyToEvaluate(w.Namespace.Items[0].Labels, podsecurity.Policy{Enforce: privileged, Audit: privileged, Warn: privileged})
	if enforced.Enforce.Level == podsecurity.LevelPrivileged {
		return nil
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil // its own table is wrong
	}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(enforced.Enforce, &w.standIn.ObjectMeta, &w.standIn.Spec))
	if result.Allowed {
		return nil
	}
	return []Finding{{PodSecurity, Blocks,
		fmt.Sprintf("the namespace's Pod Security level %s does not let the stand-in in: %s", enforced.Enforce, result.ForbiddenDetail()),
		"the stand-in has the target's own security context, so a new pod of the target is not let in either: mend its template"}}
}
