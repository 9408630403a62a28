package session

import (
	"encoding/json"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

const (
	// keptFor is for how long a Session is kept since it was read or written, and
	// keptMost how many bytes there are of all of them at most.
	keptFor  = time.Minute
	keptMost = 4 << 20
)

// kept are Sessions as a visit has left them, for the next one, so that it need not
// read them. Who has changed one since makes the next write a conflict, and that comes
// before any to the workload. They are kept as text, of which a thousand are some
// MiB.
type kept struct {
	mu       sync.Mutex
	sessions map[types.NamespacedName]keptSession
	bytes    int
}

type keptSession struct {
	text []byte
	at   time.Time
}

// keep keeps a Session as the API server had it at that time; one too many is not.
func (k *kept) keep(session *v1alpha1.Session, at time.Time) {
	text, err := json.Marshal(session)
	if err != nil {
		return // it is read
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key := client.ObjectKeyFromObject(session)
	k.drop(key)
	if k.bytes+len(text) > keptMost {
		return
	}
	if k.sessions == nil {
		k.sessions = map[types.NamespacedName]keptSession{}
	}
	k.sessions[key] = keptSession{text: text, at: at}
	k.bytes += len(text)
}

// take answers the Session that was kept, once, and since when; nil is to be read.
func (k *kept) take(key types.NamespacedName, now time.Time) (*v1alpha1.Session, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	session := k.sessions[key]
	k.drop(key)
	if session.text == nil || now.Sub(session.at) >= keptFor {
		return nil, now
	}
	var read v1alpha1.Session
	if err := json.Unmarshal(session.text, &read); err != nil {
		return nil, now
	}
	return &read, session.at
}

// forget drops what is kept of a session.
func (k *kept) forget(key types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(key)
}

func (k *kept) drop(key types.NamespacedName) {
	k.bytes -= len(k.sessions[key].text)
	delete(k.sessions, key)
}
