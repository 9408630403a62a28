package link

import (
	"sync"
	"time"
)

// deadline is a moment that can be waited for and moved.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  chan struct{} // closed when the moment has come
}

func (d *deadline) init() { d.over = make(chan struct{}) }

// passed is closed when the moment has come.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

// armed says whether there is a moment at all.
func (d *deadline) armed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.timer != nil
}

// set moves the moment, also for those who wait for it already; the zero time
// is never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.over // the timer's function is under way or done
	}
	d.timer = nil
	select {
	case <-d.over:
		d.over = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	over := d.over
	wait := time.Until(t)
	if wait <= 0 {
		close(over)
		d.timer = time.NewTimer(time.Hour)
		d.timer.Stop()
		return
	}
	d.timer = time.AfterFunc(wait, func() { close(over) })
}
