package session

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// What happens in one second of a session's life.
const (
	reads   = 'r' // the operator's read succeeds
	fails   = 'f' // the API server does not answer
	renewal = 'n' // a read succeeds, and the owner has renewed
)

func TestSilence(t *testing.T) {
	key := types.NamespacedName{Namespace: "shop", Name: "alice"}
	for name, c := range map[string]struct {
		life string
		want time.Duration
	}{
		"never renewed":                      {"rrrrr", 5 * time.Second},
		"renewed":                            {"rrrrnrr", 2 * time.Second},
		"one read lost":                      {"rrrfrr", 6 * time.Second},
		"an outage is not counted":           {"rrffffffffffrr", 3 * time.Second},
		"an outage with a renewal behind it": {"rrffffffffffnrr", 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			h := &Hearing{Now: func() time.Time { return now }}
			version := 1
			h.readOK()
			h.Heard(key, "s-1", string(rune('0'+version)), nil)
			for _, second := range c.life {
				now = now.Add(time.Second)
				if second == fails {
					continue
				}
				h.readOK()
				if second == renewal {
					version++
				}
				h.Heard(key, "s-1", string(rune('0'+version)), nil)
			}
			if got := h.Silence(key); got != c.want {
				t.Errorf("silent for %s, want %s", got, c.want)
			}
		})
	}
}

func TestSilenceGoesOnAfterARestart(t *testing.T) {
	key := types.NamespacedName{Namespace: "shop", Name: "alice"}
	counted := &v1alpha1.Silence{LeaseResourceVersion: "7", Counted: metav1.Duration{Duration: 40 * time.Second}}
	for name, c := range map[string]struct {
		version string
		want    time.Duration
	}{
		"the same version":   {"7", 40 * time.Second},
		"renewed in between": {"8", 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Hearing{Now: func() time.Time { return time.Unix(1000, 0) }}
			h.Heard(key, "s-1", c.version, counted)
			if got := h.Silence(key); got != c.want {
				t.Errorf("silent for %s, want %s", got, c.want)
			}
		})
	}
	t.Run("another session of the same name", func(t *testing.T) {
		h := &Hearing{Now: func() time.Time { return time.Unix(1000, 0) }}
		h.Heard(key, "s-1", "7", counted)
		h.Heard(key, "s-2", "7", nil)
		if got := h.Silence(key); got != 0 {
			t.Errorf("silent for %s, want 0", got)
		}
	})
}

// An owner who renews wakes nobody; one who is silent wakes the session when half
// of the lease is over, which is not urgent, and when all of it is, and once each.
func TestOverdue(t *testing.T) {
	now := time.Unix(1000, 0)
	key := types.NamespacedName{Namespace: "shop", Name: "alice"}
	h := &Hearing{Now: func() time.Time { return now }, Wake: func(context.Context, Wake) {}}
	h.readOK()
	h.Heard(key, "s-1", "1", nil)
	h.Mind(key, 10*time.Second)
	var woken []int
	var priorities []int
	for second, renewed := range []bool{3: true, 6: true, 25: true, 40: false} {
		now = now.Add(time.Second)
		h.readOK()
		if renewed {
			h.Renewed(key, "s-1", fmt.Sprint("at ", second))
		}
		for _, wake := range h.overdue() {
			woken, priorities = append(woken, second), append(priorities, wake.Priority)
		}
	}
	// Renewed at 3, 6 and 25, with a lease of 10 s.
	if want := []int{11, 16, 30, 35}; !slices.Equal(woken, want) {
		t.Errorf("woken at %v, want %v", woken, want)
	}
	if want := []int{wakeForRest, wakeToEnd, wakeForRest, wakeToEnd}; !slices.Equal(priorities, want) {
		t.Errorf("with priorities %v, want %v", priorities, want)
	}
	h.Forget(key)
	now = now.Add(time.Second)
	if h.readOK(); len(h.overdue()) > 0 {
		t.Error("a session that is gone is woken")
	}
}

// An API server that takes two and a half seconds for each answer is heard of every
// second all the same; one that does not answer is not.
func TestSlowIsNotDeaf(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		fails bool
		least time.Duration
		most  time.Duration
	}{
		"at once":     {0, false, 58 * time.Second, time.Minute},
		"slowly":      {2500 * time.Millisecond, false, 55 * time.Second, time.Minute},
		"not at all":  {time.Hour, false, 0, 0},
		"with errors": {0, true, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				h := &Hearing{Live: &slowReader{after: c.after, fails: c.fails}}
				stopped := make(chan error)
				go func() { stopped <- h.Start(ctx) }()
				time.Sleep(time.Minute) // of the bubble: no time passes
				cancel()
				if err := <-stopped; err != nil {
					t.Error(err)
				}
				if up := h.Uptime(); up < c.least || up > c.most {
					t.Errorf("in a minute it could hear for %s, want %s to %s", up, c.least, c.most)
				}
			})
		})
	}
}

// slowReader is an API server as a probe sees it.
type slowReader struct {
	client.Reader
	after time.Duration
	fails bool
}

func (r *slowReader) List(ctx context.Context, _ client.ObjectList, _ ...client.ListOption) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.after):
	}
	if r.fails {
		return errLost
	}
	return nil
}
