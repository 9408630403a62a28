package session

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// crowd is from how many numbers on, all still to be put back, what is left to
	// do for the others waits for them.
	crowd = 16
	// rush is from how many on it waits for the very last: all that has waited begins
	// at once, and where that is much it would come before the last numbers.
	rush = 128
	// owedFresh is for how long a number is waited for by others: one whose stand-in
	// does not end, on a node that nobody hears of, may take longer.
	owedFresh = 30 * time.Second
	// lateMost is how long what is left to do waits at most, and lateEvery how often
	// it is asked meanwhile whether it still has to.
	lateMost  = time.Minute
	lateEvery = time.Second
)

// returns knows of which sessions the number is still to be put back, and of which
// it is, with something left to do. A session is its name and its UID: one that is made
// anew under the name has nothing of the one before. An operator that starts anew waits
// for nobody, and reads what it has not written itself; but whether a number was put
// back just before the one of before was killed it does not know, and puts it back once
// more.
type returns struct {
	mu   sync.Mutex
	owed map[types.NamespacedName]*owed
	late map[types.NamespacedName]back
	// rushed is from the time on at which there was a rush to that at which none is owed.
	rushed bool
}

// back is a number that was put back, of which workload and since when.
type back struct {
	session  types.UID
	since    time.Time
	workload types.UID
	// looked is when it was first looked at whether the workload follows.
	looked time.Time
}

// owed is a number that is to be put back.
type owed struct {
	session types.UID
	since   time.Time
	// asked is the stand-in of which this operator has asked the end.
	asked types.UID
}

// owes notes that a session's number is to be put back.
func (r *returns) owes(key types.NamespacedName, session types.UID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.only(key, session)
	if _, late := r.late[key]; late || r.owed[key] != nil {
		return
	}
	if r.owed == nil {
		r.owed, r.late = map[types.NamespacedName]*owed{}, map[types.NamespacedName]back{}
	}
	r.owed[key] = &owed{session: session, since: now}
	r.crowded(now)
}

// only forgets what was known of an earlier session of the same name.
func (r *returns) only(key types.NamespacedName, session types.UID) {
	if owed := r.owed[key]; owed != nil && owed.session != session {
		delete(r.owed, key)
	}
	if late, ok := r.late[key]; ok && late.session != session {
		delete(r.late, key)
	}
}

// owing says whether a session's number is to be put back.
func (r *returns) owing(key types.NamespacedName, session types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.only(key, session)
	return r.owed[key] != nil
}

// asks notes that the end of a stand-in was asked for, once: it answers false if it
// was before, or if no number waits for it.
func (r *returns) asks(key types.NamespacedName, session, pod types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.only(key, session)
	owed := r.owed[key]
	if owed == nil || owed.asked == pod {
		return false
	}
	owed.asked = pod
	return true
}

// paid notes that it is back, on that workload.
func (r *returns) paid(key types.NamespacedName, session, workload types.UID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.only(key, session)
	late, known := r.late[key]
	if r.owed[key] != nil {
		delete(r.owed, key)
		late.since, known = now, true
	}
	if known {
		late.session, late.workload = session, workload
		r.late[key] = late
	}
}

// looks notes that it is looked at whether a workload follows its number, and answers
// since when that is done; zero where this operator has not put it back.
func (r *returns) looks(key types.NamespacedName, session types.UID, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.only(key, session)
	late, ok := r.late[key]
	if !ok {
		return time.Time{}
	}
	if late.looked.IsZero() {
		late.looked = now
		r.late[key] = late
	}
	return late.looked
}

// returned says whether this operator has put the number of that workload back.
func (r *returns) returned(key types.NamespacedName, session, workload types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.only(key, session)
	late, ok := r.late[key]
	return ok && late.workload == workload
}

// done notes that nothing is left to do.
func (r *returns) done(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owed, key)
	delete(r.late, key)
}

// wait is how long what is left to do for a session lets the numbers of others come
// first; 0 is not at all.
func (r *returns) wait(key types.NamespacedName, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	late, ok := r.late[key]
	if !ok || now.Sub(late.since) >= lateMost || !r.crowded(now) && !r.rushed {
		return 0
	}
	return lateEvery
}

// many says whether many numbers are to be put back.
func (r *returns) many(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.crowded(now)
}

// crowded says whether many numbers are to be put back, and notes whether it is a rush.
func (r *returns) crowded(now time.Time) bool {
	fresh, all := 0, 0
	for _, owed := range r.owed {
		if age := now.Sub(owed.since); age < lateMost {
			all++
			if age < owedFresh {
				fresh++
			}
		}
	}
	switch {
	case all >= rush:
		r.rushed = true
	case all == 0:
		r.rushed = false
	}
	return fresh >= crowd
}
