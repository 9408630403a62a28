package plan

import (
	"strings"

	"understudy.dev/understudy/operator/clone"
)

// limits looks whether the stand-in is within the namespace's limit ranges. The
// agent's own share is made to be; another container's may not be any more.
func limits(w *World) []Finding {
	if w.standIn == nil || w.tried() || len(w.LimitRanges.Items) == 0 {
		return nil
	}
	outside := clone.Outside(&w.standIn.Spec, w.LimitRanges.Items)
	if len(outside) == 0 {
		return nil
	}
	var names []string
	for i := range w.LimitRanges.Items {
		names = append(names, w.LimitRanges.Items[i].Name)
	}
	return []Finding{{LimitRange, Blocks,
		"the stand-in is outside the namespace's limit ranges (" + strings.Join(names, ", ") + "): " + strings.Join(outside, ", "),
		"so is a new pod of the target: leave the container out (exclude_containers), or have the limits changed"}}
}
