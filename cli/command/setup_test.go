package command

import (
	"testing"
	"time"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Who waits is told for whom, since when and how many are before.
func TestInLine(t *testing.T) {
	now := time.Date(2026, 3, 4, 15, 0, 0, 0, time.Local)
	at := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339) }
	for want, queue := range map[string]v1alpha1.Queue{
		"held by jane since 14:30 (session worker-1); you are next":                        {Place: 1, Since: at(-30 * time.Minute)},
		"held by jane since 2026-03-03 15:00 (session worker-1); 1 other waits before you": {Place: 2, Since: at(-24 * time.Hour)},
		"held by jane since 14:59 (session worker-1); 3 others wait before you":            {Place: 4, Since: at(-time.Minute)},
		"held by jane since long ago (session worker-1); you are next":                     {Place: 1, Since: "long ago"},
	} {
		queue.Holder, queue.Session = "jane", "worker-1"
		if got := inLine(&queue, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
