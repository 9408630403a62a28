package session

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// What is left to do for a session waits while many numbers are to be put back, and
// for nobody else: not for a few, not for those that take too long, and not for ever.
func TestReturnsWait(t *testing.T) {
	start := time.Unix(1000, 0)
	key := func(i int) types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: fmt.Sprint(i)} }
	late := types.NamespacedName{Namespace: "shop", Name: "late"}
	for name, c := range map[string]struct {
		owed  int
		since time.Duration // how long before the look the others' numbers came to be owed
		late  time.Duration // how long before it this one's was back
		waits bool
	}{
		"nobody else":          {0, 0, 0, false},
		"a few":                {crowd - 1, 0, 0, false},
		"many":                 {crowd, 0, 0, true},
		"many that take long":  {crowd, owedFresh, owedFresh, false},
		"many, for very long":  {crowd, 0, lateMost, false},
		"many, for quite long": {crowd, owedFresh - 1, lateMost - 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			now := start.Add(time.Hour)
			r := &returns{}
			r.owes(late, now.Add(-c.late))
			r.paid(late, "", now.Add(-c.late))
			r.owes(late, now) // it is over, and looked at once more
			for i := range c.owed {
				r.owes(key(i), now.Add(-c.since))
			}
			if waits := r.wait(late, now) > 0; waits != c.waits {
				t.Errorf("it waits: %t, want %t", waits, c.waits)
			}
			if many := r.many(now); many && c.owed < crowd {
				t.Error("there are said to be many")
			}
			for i := range c.owed {
				if r.wait(key(i), now) > 0 {
					t.Errorf("number %d waits, and is not back", i)
				}
				r.paid(key(i), "", now)
			}
			if r.wait(late, now) > 0 {
				t.Error("it waits for numbers that are back")
			}
			r.done(late)
			for i := range c.owed {
				r.done(key(i))
			}
			if left := len(r.owed) + len(r.late); left > 0 {
				t.Errorf("%d are kept in mind for ever", left)
			}
		})
	}
}

// A Session is kept from visit to visit while its number is owed, and each time for
// the next visit alone: one that fails has it read anew.
func TestReturnsKeep(t *testing.T) {
	session := &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "alice", ResourceVersion: "7"}}
	key := client.ObjectKeyFromObject(session)
	r := &returns{}
	now := time.Now()
	taken := func() *v1alpha1.Session {
		kept, _ := r.take(key, now)
		return kept
	}
	r.keep(session, now)
	if taken() != nil {
		t.Error("it is kept though nothing is owed")
	}
	r.owes(key, time.Now())
	if taken() != nil {
		t.Error("there is one that nobody kept")
	}
	r.keep(session, now)
	session.ResourceVersion = "8"
	if kept := taken(); kept == nil || kept.ResourceVersion != "7" {
		t.Errorf("kept is %+v", kept)
	}
	if taken() != nil {
		t.Error("it is kept for more than one visit")
	}
	r.keep(session, now.Add(-keptFor))
	if taken() != nil {
		t.Error("it is kept for ever")
	}
	r.keep(session, now)
	if r.kept != 1 {
		t.Errorf("%d are said to be kept", r.kept)
	}
	r.paid(key, "", time.Now())
	r.keep(session, now)
	if taken() != nil {
		t.Error("it is kept though the number is back")
	}
	r.done(key)
	if r.kept != 0 {
		t.Errorf("%d are said to be kept", r.kept)
	}
}
