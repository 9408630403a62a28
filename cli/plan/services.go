package plan

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"understudy.dev/understudy/operator/clone"
)

// services are who else is behind the Services that lead to the target.
func services(w *World) []Finding {
	pods := w.labels()
	if pods == nil {
		return nil
	}
	var found []Finding
	for _, service := range clone.Selecting(w.Services.Items, pods) {
		selector := labels.SelectorFromSet(service.Spec.Selector)
		var others []string
		for i := range w.Workloads.Items {
			l := &w.Workloads.Items[i]
			if l.UID != w.Target.UID && l.Template != nil && (!l.Counted || l.Replicas > 0) && selector.Matches(labels.Set(l.Template.Labels)) && !w.same(l.UID) {
				others = append(others, l.String())
			}
		}
		if len(others) > 0 {
			slices.Sort(others)
			found = append(found, Finding{SharedService, Notes, fmt.Sprintf("service %s leads to %s too, which goes on taking its share of the connections", service.Name, strings.Join(others, ", ")), ""})
		}
	}
	return found
}

// labels are those of the target's pods.
func (w *World) labels() map[string]string {
	switch {
	case w.Target.Template != nil:
		return w.Target.Template.Labels
	case w.Target.Pod != nil:
		return w.Target.Pod.Labels
	}
	return nil
}
