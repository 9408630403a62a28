package session

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A hold that is written over again and again is brought to zero at once the first
// time, and then after pauses that double from brakeFirst to brakeMost. One that was
// left alone for brakeRest begins anew.
const (
	brakeFirst = 50 * time.Millisecond
	brakeMost  = time.Second
	brakeRest  = 10 * time.Second
)

// brakes keep sessions whose workload another controller writes too from answering
// each of its writes at once: two that do so load the API server for nothing.
// Meanwhile the gate keeps pods from starting, and a pod that runs all the same
// makes the session unready.
type brakes struct {
	mu sync.Mutex
	of map[types.NamespacedName]brake
}

type brake struct {
	last  time.Time
	pause time.Duration
}

// left is how long a session has to wait until it may bring its workload to zero
// again.
func (b *brakes) left(key types.NamespacedName, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.of[key]
	return max(0, one.pause-now.Sub(one.last))
}

// done notes that it has done so.
func (b *brakes) done(key types.NamespacedName, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, braked := b.of[key]
	if !braked || now.Sub(one.last) >= brakeRest {
		one.pause = brakeFirst
	} else {
		one.pause = min(2*one.pause, brakeMost)
	}
	one.last = now
	if b.of == nil {
		b.of = map[types.NamespacedName]brake{}
	}
	b.of[key] = one
}

func (b *brakes) forget(key types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.of, key)
}
