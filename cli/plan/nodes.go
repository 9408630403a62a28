package plan

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// nodes looks whether there is a node that the stand-in may be put on.
func nodes(w *World) []Finding {
	if w.standIn == nil || !w.NodesAsked || w.Nodes.Not != "" || len(w.Nodes.Items) > 0 {
		return nil
	}
	asks := strings.Join(asked(&w.standIn.Spec), "; or ")
	return []Finding{{NoNode, Blocks, fmt.Sprintf("no node that takes pods is what the target's pods ask for (%s)", asks),
		"no new pod of the target would find one either: mend its nodeSelector or affinity, or label a node"}}
}

func asked(spec *corev1.PodSpec) []string {
	var all []string
	selectors, _ := Selectors(spec)
	for _, selector := range selectors {
		all = append(all, selector.String())
	}
	return all
}

// Selectors are what a pod asks of its node's labels: it has to be what one of
// them selects. None is a pod that asks for nothing. It fails for what a label
// selector cannot say.
func Selectors(spec *corev1.PodSpec) ([]labels.Selector, error) {
	base, err := labels.ValidatedSelectorFromSet(spec.NodeSelector)
	if err != nil {
		return nil, fmt.Errorf("reading the node selector: %w", err)
	}
	var terms []corev1.NodeSelectorTerm
	if a := spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		terms = a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	}
	if len(terms) == 0 {
		if base.Empty() {
			return nil, nil
		}
		return []labels.Selector{base}, nil
	}
	var all []labels.Selector
	for _, term := range terms {
		if len(term.MatchFields) > 0 {
			return nil, fmt.Errorf("it asks for a node by its fields")
		}
		selector, _ := base.Requirements()
		selector = slices.Clone(selector)
		for _, e := range term.MatchExpressions {
			operator, is := operators[e.Operator]
			if !is {
				return nil, fmt.Errorf("it compares a node's label %s with a number", e.Key)
			}
			requirement, err := labels.NewRequirement(e.Key, operator, e.Values)
			if err != nil {
				return nil, fmt.Errorf("reading the node affinity: %w", err)
			}
			selector = append(selector, *requirement)
		}
		all = append(all, labels.NewSelector().Add(selector...))
	}
	return all, nil
}

var operators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
	corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
}
