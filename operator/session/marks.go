package session

import (
	"slices"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// marks are those that Flux's workload is still to get. They are written in the
// patch that brings it to zero and taken off in the one that puts it back: there
// is no moment in which it is marked and not held.
func (v *visit) marks() []v1alpha1.Mark {
	if !v.Flux || v.object == nil {
		return nil
	}
	return hold.Wanted(v.object)
}

// recordMarks notes the marks that are about to be put on.
func (v *visit) recordMarks(marks []v1alpha1.Mark) (changed bool) {
	record := v.status().Record
	for _, m := range marks {
		if !slices.Contains(record.Marks, m.Key) {
			record.Marks = append(record.Marks, m.Key)
			changed = true
		}
	}
	return changed
}
