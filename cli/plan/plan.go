package plan

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
)

// Plan is what a session would do. Its JSON is documented in docs/plan.md.
type Plan struct {
	// Target as a person names it, "deployment/worker"; empty for none.
	Target    string          `json:"target,omitempty"`
	Container string          `json:"container,omitempty"`
	Takeover  config.Takeover `json:"takeover"`
	// Blocked: something stands in the way.
	Blocked bool `json:"blocked"`
	// Replicas of a target that is held.
	Replicas *Replicas `json:"replicas,omitempty"`
	// Pods are those that would end, or be frozen; Node is where the latter is.
	Pods []string `json:"pods,omitempty"`
	Node string   `json:"node,omitempty"`
	// Ports that may be opened in the cluster for the local process.
	Ports []Port `json:"ports,omitempty"`
	// Before are the steps until the local process starts, AtEnd those after it
	// has ended.
	Before []string `json:"before"`
	AtEnd  []string `json:"atEnd"`
	// Findings in the order of their weight.
	Findings []Finding `json:"findings"`
	// Unseen is what could not be looked at.
	Unseen []Unseen `json:"unseen,omitempty"`
}

// Replicas are 1 and 0 of a kind that is suspended instead of being scaled.
type Replicas struct {
	Now       int32 `json:"now"`
	Meanwhile int32 `json:"meanwhile"`
	AtEnd     int32 `json:"atEnd"`
}

// Port is one of the local process, and why it may be opened: "declared",
// "probed", "service", "asked".
type Port struct {
	Port     int32           `json:"port"`
	Protocol corev1.Protocol `json:"protocol"`
	Why      []string        `json:"why"`
}

// Unseen is something that the user may not read, or that could not be read.
type Unseen struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// check looks at the world for one thing.
type check func(*World) []Finding

// checks are all, in the order in which a person would look at what they find.
var checks = []check{
	here, rights, sessionTrial, holder, kind, unlisted, refusal, restarts, rollout, pausedRollout, impossible, trial, holdTrial, quotas, limits, podSecurity, nodes,
	sideBySide, frozen, gitOps, autoscalers, consumers, containers, services, budgets, differs, probes, zero, grace, granted,
}

// certain are those whose answer is known from the target alone, as exec has
// read it: what they find the operator would find too, after a Session was made.
var certain = []check{refusal, restarts, pausedRollout, impossible, frozen}

// Make says what would happen.
func Make(w *World) Plan {
	w.rehearse()
	p := Plan{Takeover: w.Takeover, Findings: []Finding{}, Pods: w.pods(), Ports: w.ports(), Unseen: w.unseen()}
	if !w.Target.None() {
		p.Target, p.Container = w.Target.String(), w.Target.Container
	}
	if w.scalesDown() && w.Target.NotHeld == "" {
		p.Replicas = &Replicas{Now: w.Target.Replicas, AtEnd: w.Target.Replicas}
		if claim := w.claim(); claim != nil {
			p.Replicas.AtEnd = claim.Replicas
		}
	}
	if (w.freezes() || w.attaches()) && w.Target.Pod != nil {
		p.Node = w.Target.Pod.Spec.NodeName
	}
	for _, look := range checks {
		p.Findings = append(p.Findings, look(w)...)
	}
	weight := map[Severity]int{Blocks: 0, Warns: 1, Notes: 2}
	slices.SortStableFunc(p.Findings, func(a, b Finding) int { return cmp.Compare(weight[a.Severity], weight[b.Severity]) })
	p.Blocked = slices.ContainsFunc(p.Findings, func(f Finding) bool { return f.Severity == Blocks })
	p.Before, p.AtEnd = w.steps()
	return p
}

// First is what stands in the way for certain, by the target alone: what exec
// says before it makes anything. It asks nobody. The error is a
// *failure.Failure, or nil.
func First(w *World) error {
	w.rehearse()
	for _, look := range certain {
		for _, finding := range look(w) {
			if finding.Severity == Blocks {
				return failure.New(finding.Do, "%s", finding.Says)
			}
		}
	}
	return nil
}
