package session

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
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
			r.owes(late, "", now.Add(-c.late))
			r.paid(late, "", "", now.Add(-c.late))
			r.owes(late, "", now) // it is over, and looked at once more
			for i := range c.owed {
				r.owes(key(i), "", now.Add(-c.since))
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
				r.paid(key(i), "", "", now)
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

// Of very many numbers what is left to do waits for the last one, and not for one
// whose stand-in does not end.
func TestReturnsRush(t *testing.T) {
	now := time.Unix(1000, 0)
	key := func(i int) types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: fmt.Sprint(i)} }
	r := &returns{}
	for i := range rush {
		r.owes(key(i), "", now)
	}
	late := key(0)
	for i := range rush - 1 {
		r.paid(key(i), "", "", now)
		if r.wait(late, now) == 0 {
			t.Fatalf("it does not wait for the last %d", rush-1-i)
		}
	}
	if r.many(now) {
		t.Error("one is said to be many")
	}
	later := now.Add(lateMost)
	r.paid(late, "", "", later)
	r.late[late] = back{since: later}
	if r.wait(late, later) > 0 {
		t.Error("it waits for a stand-in that does not end")
	}
	r.owes(key(rush), "", later)
	if r.wait(late, later) > 0 {
		t.Error("once it is over, one more is a rush again")
	}
}

// The end of a stand-in is asked for once, while a number waits for it.
func TestReturnsStandIn(t *testing.T) {
	key := types.NamespacedName{Namespace: "shop", Name: "alice"}
	r := &returns{}
	if r.asks(key, "a", "1") {
		t.Error("it is asked for though no number waits for it")
	}
	r.owes(key, "a", time.Now())
	if !r.asks(key, "a", "1") || r.asks(key, "a", "1") {
		t.Error("it is not asked for, or twice")
	}
	if !r.asks(key, "a", "2") {
		t.Error("another one is not asked for")
	}
	r.paid(key, "a", "", time.Now())
	if r.asks(key, "a", "3") {
		t.Error("it is asked for though the number is back")
	}
}

// A session that is made anew under a name has nothing of the one before.
func TestReturnsSameName(t *testing.T) {
	key := types.NamespacedName{Namespace: "shop", Name: "alice"}
	r := &returns{}
	r.owes(key, "a", time.Now())
	if r.owing(key, "b") || r.owing(key, "a") {
		t.Error("the number of the one before is owed")
	}
	r.owes(key, "a", time.Now())
	r.paid(key, "a", "worker", time.Now())
	if !r.returned(key, "a", "worker") {
		t.Error("its number is not known to be back")
	}
	if r.returned(key, "b", "worker") {
		t.Error("the number of the one before is its own")
	}
	r.owes(key, "b", time.Now())
	if !r.owing(key, "b") {
		t.Error("it is not owed, as that of the one before is back")
	}
}
