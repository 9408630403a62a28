package command

import (
	"fmt"
	"sync"
	"time"
)

// away measures one absence after the other.
type away struct {
	mu    sync.Mutex
	since time.Time
}

// begin starts to measure, and says whether that is news.
func (a *away) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.since.IsZero() {
		return false
	}
	a.since = time.Now()
	return true
}

// end says how long it lasted; empty when nothing was away.
func (a *away) end() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since.IsZero() {
		return ""
	}
	lasted := time.Since(a.since)
	a.since = time.Time{}
	return fmt.Sprintf("%.1f s", lasted.Seconds())
}
