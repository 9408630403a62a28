package session

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

const (
	// crowd is from how many numbers on, all still to be put back, what is left to
	// do for the others waits for them.
	crowd = 16
	// keptMost is of how many the Session is kept at a time, and keptFor for how long
	// since it was read or written.
	keptMost = 128
	keptFor  = 10 * time.Second
	// owedFresh is for how long a number is waited for by others: one whose stand-in
	// does not end, on a node that nobody hears of, may take longer.
	owedFresh = 30 * time.Second
	// lateMost is how long what is left to do waits at most, and lateEvery how often
	// it is asked meanwhile whether it still has to.
	lateMost  = time.Minute
	lateEvery = 500 * time.Millisecond
)

// returns knows of which sessions the number is still to be put back, and of which
// it is, with something left to do. An operator that starts anew waits for nobody, and
// reads what it has not written itself; but whether a number was put back just before
// the one of before was killed it does not know, and puts it back once more.
type returns struct {
	mu   sync.Mutex
	owed map[types.NamespacedName]*owed
	late map[types.NamespacedName]back
	kept int
}

// back is a number that was put back, of which workload and since when.
type back struct {
	since    time.Time
	workload types.UID
}

// owed is a number that is to be put back.
type owed struct {
	since time.Time
	// session is the Session as it was at the end of the last visit, nil is to be read;
	// and at when that had it from the API server.
	session *v1alpha1.Session
	at      time.Time
}

// owes notes that a session's number is to be put back.
func (r *returns) owes(key types.NamespacedName, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, late := r.late[key]
	if r.owed[key] != nil || late {
		return
	}
	if r.owed == nil {
		r.owed, r.late = map[types.NamespacedName]*owed{}, map[types.NamespacedName]back{}
	}
	r.owed[key] = &owed{since: now}
}

// keep keeps a Session whose number is owed as a visit leaves it: it need not be read
// once more before the number. Who has changed it since makes the next write a
// conflict, and that comes before any to the workload.
func (r *returns) keep(session *v1alpha1.Session, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	owed := r.owed[client.ObjectKeyFromObject(session)]
	if owed == nil {
		return
	}
	r.drop(owed)
	if r.kept < keptMost {
		owed.session, owed.at = session.DeepCopy(), at
		r.kept++
	}
}

// take answers the Session that was kept, once, and since when; nil is to be read.
func (r *returns) take(key types.NamespacedName, now time.Time) (*v1alpha1.Session, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	owed := r.owed[key]
	if owed == nil {
		return nil, now
	}
	session, at := owed.session, owed.at
	r.drop(owed)
	if session == nil || now.Sub(at) >= keptFor {
		return nil, now
	}
	return session, at
}

// paid notes that it is back, on that workload.
func (r *returns) paid(key types.NamespacedName, workload types.UID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	late, known := r.late[key]
	if owed := r.owed[key]; owed != nil {
		r.drop(owed)
		delete(r.owed, key)
		late.since, known = now, true
	}
	if known {
		late.workload = workload
		r.late[key] = late
	}
}

// returned says whether this operator has put the number of that workload back.
func (r *returns) returned(key types.NamespacedName, workload types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	late, ok := r.late[key]
	return ok && late.workload == workload
}

// done notes that nothing is left to do.
func (r *returns) done(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if owed := r.owed[key]; owed != nil {
		r.drop(owed)
	}
	delete(r.owed, key)
	delete(r.late, key)
}

// drop forgets a Session that was kept.
func (r *returns) drop(owed *owed) {
	if owed.session != nil {
		owed.session = nil
		r.kept--
	}
}

// wait is how long what is left to do for a session lets the numbers of others come
// first; 0 is not at all.
func (r *returns) wait(key types.NamespacedName, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	late, ok := r.late[key]
	if !ok || now.Sub(late.since) >= lateMost || !r.crowded(now) {
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

func (r *returns) crowded(now time.Time) bool {
	n := 0
	for _, owed := range r.owed {
		if now.Sub(owed.since) < owedFresh {
			n++
		}
	}
	return n >= crowd
}
