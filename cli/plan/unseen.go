package plan

// unseen is what could not be looked at and might have mattered.
func (w *World) unseen() []Unseen {
	var found []Unseen
	not := func(what, why string) {
		if why != "" {
			found = append(found, Unseen{what, why})
		}
	}
	not("whether the operator works", w.OperatorNot)
	if w.clones() && !w.tried() {
		not("quotas", w.Quotas.Not)
		not("limit ranges", w.LimitRanges.Not)
		not("Pod Security of the namespace", w.Namespace.Not)
	}
	if w.clones() {
		not("nodes", w.Nodes.Not)
	}
	if w.Target.None() {
		return found
	}
	not("sessions", w.Sessions.Not)
	not("workloads that may read from the same queue", w.Workloads.Not)
	not("services", w.Services.Not)
	if w.clones() {
		not("volume claims", w.Claims.Not)
		not("disruption budgets", w.Budgets.Not)
		not("network policies", w.Policies.Not)
	}
	if w.asksForAutoscalers() {
		not("autoscalers", w.Autoscalers.Not)
	}
	if w.asksForAutoscalers() && w.holds() {
		not("KEDA's ScaledObjects", w.ScaledObjects.Not)
	}
	return found
}
