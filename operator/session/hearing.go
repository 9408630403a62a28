package session

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// probeEvery is how often the operator reads from the API server to know that
// it could have heard a renewal; a gap between two successful reads that is
// longer than maxGap is time in which it was deaf.
const (
	probeEvery = time.Second
	maxGap     = 3 * time.Second
	// probesAtOnce may be under way: an API server that has much to do answers
	// each read late, but it answers, and then nothing is to wait longer for it.
	probesAtOnce = 3
)

// Hearing counts how long each session's owner has been silent, by the
// operator's own clock and only while the operator could have heard: while its
// own reads succeed. So neither an API server that is down nor an operator
// that was stopped for a while makes a session look dead.
type Hearing struct {
	// Live is what is read from.
	Live client.Reader
	// Now is the clock; nil is time.Now. Only differences are used.
	Now func() time.Time
	// Wake is told of the sessions whose silence has come to be worth a look; nil
	// tells nobody.
	Wake func(context.Context, Wake)

	mu     sync.Mutex
	lastOK time.Time
	up     time.Duration
	heard  map[types.NamespacedName]heard
}

// heard is the last renewal of one session.
type heard struct {
	session types.UID
	version string
	at      time.Duration // on the clock that counts only while reads succeed
	before  time.Duration // silence that was counted before that, by an earlier operator
	lease   time.Duration // how long it may last; 0 is not to be woken
	woken   time.Duration // how long it had lasted when it was last woken for it
}

// silence of a session, at a time of the clock that counts only while reads
// succeed.
func (l heard) silence(up time.Duration) time.Duration { return l.before + up - l.at }

func (h *Hearing) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

// NeedLeaderElection is asked by the manager: who does not lead does not count.
func (h *Hearing) NeedLeaderElection() bool { return true }

// Start reads every second until ctx ends.
func (h *Hearing) Start(ctx context.Context) error {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	var probes sync.WaitGroup
	defer probes.Wait()
	slots := make(chan struct{}, probesAtOnce)
	for {
		select {
		case slots <- struct{}{}:
			probes.Go(func() {
				h.probe(ctx)
				<-slots
			})
		default:
		}
		for _, wake := range h.overdue() {
			h.Wake(ctx, wake)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (h *Hearing) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, maxGap)
	defer cancel()
	// A quorum read of what matters: an API server without its store answers
	// health checks, but not this.
	var sessions v1alpha1.SessionList
	if err := h.Live.List(ctx, &sessions, client.Limit(1)); err == nil {
		h.readOK()
	}
}

// readOK notes that a read has just succeeded.
func (h *Hearing) readOK() {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if gap := now.Sub(h.lastOK); !h.lastOK.IsZero() && gap > 0 && gap <= maxGap {
		h.up += gap
	}
	h.lastOK = now
}

// Heard notes a version of a session's Lease. A version that was not seen
// before is a renewal; the first one after a start goes on from the silence
// that an earlier operator counted for that very version.
func (h *Hearing) Heard(key types.NamespacedName, session types.UID, version string, counted *v1alpha1.Silence) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, ok := h.heard[key]
	if ok && last.session == session && last.version == version {
		return
	}
	if h.heard == nil {
		h.heard = map[types.NamespacedName]heard{}
	}
	fresh := heard{session: session, version: version, at: h.up, lease: last.lease}
	if (!ok || last.session != session) && counted != nil && counted.LeaseResourceVersion == version {
		fresh.before = counted.Counted.Duration
	}
	h.heard[key] = fresh
}

// Silence is how long nothing was heard of a session.
func (h *Hearing) Silence(key types.NamespacedName) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, ok := h.heard[key]
	if !ok {
		return 0
	}
	return last.silence(h.up)
}

// Expired says whether nothing was heard of a session for as long as its lease is.
func (h *Hearing) Expired(key types.NamespacedName, session types.UID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.heard[key]
	return last.session == session && last.lease > 0 && last.silence(h.up) >= last.lease
}

// Mind has a session woken when it has been silent for half of its lease, and for
// all of it. So one whose owner renews costs nothing.
func (h *Hearing) Mind(key types.NamespacedName, lease time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last, ok := h.heard[key]; ok {
		last.lease, last.woken = lease, last.silence(h.up)
		h.heard[key] = last
	}
}

// overdue are the sessions to be woken. To note half of a lease is not urgent.
func (h *Hearing) overdue() []Wake {
	if h.Wake == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var wakes []Wake
	for key, last := range h.heard {
		silence := last.silence(h.up)
		for _, due := range []time.Duration{last.lease / 2, last.lease} {
			if due > 0 && last.woken < due && silence >= due {
				wake := Wake{NamespacedName: key, Priority: wakeToEnd}
				if silence < last.lease {
					wake.Priority = wakeForRest
				}
				wakes = append(wakes, wake)
				last.woken = silence
				h.heard[key] = last
				break
			}
		}
	}
	return wakes
}

// Uptime is how long this operator has been able to hear.
func (h *Hearing) Uptime() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up
}

// Forget drops a session that is gone.
func (h *Hearing) Forget(key types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.heard, key)
}

// Renewed notes a renewal that a watch showed, of a session that is known.
func (h *Hearing) Renewed(key types.NamespacedName, session types.UID, version string) {
	h.mu.Lock()
	_, known := h.heard[key]
	h.mu.Unlock()
	if known {
		h.Heard(key, session, version, nil)
	}
}
