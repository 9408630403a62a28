package fault

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// Write is one change that is asked of the API server in a namespace: the nth,
// from 1, of its kind since the trap was set.
type Write struct {
	// Request is a method and a resource, as in "PATCH deployments".
	Request string `json:"request"`
	Nth     int    `json:"nth"`
}

func (w Write) String() string {
	if w.Nth == 1 {
		return w.Request
	}
	return fmt.Sprintf("%s (%d)", w.Request, w.Nth)
}

// Trap waits in a proxy for one write of the account behind it, and springs once:
// before the API server hears of it, or when that has done it and answered, and
// the answer is on its way. Either way the answer never comes.
type Trap struct {
	namespace string
	at        Write
	done      bool
	spring    func()

	mu     sync.Mutex
	seen   []Write
	sprung chan struct{}
}

// NewTrap makes a trap for a write in a namespace; done is for after it was made.
// The zero Write is none: such a trap only remembers what it saw.
func NewTrap(namespace string, at Write, done bool, spring func()) *Trap {
	return &Trap{namespace: namespace, at: at, done: done, spring: spring, sprung: make(chan struct{})}
}

// Seen are the writes up to now, in their order.
func (t *Trap) Seen() []Write {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seen)
}

// Sprung is closed when it has sprung.
func (t *Trap) Sprung() <-chan struct{} { return t.sprung }

// SetTrap puts a trap into the proxy, in the place of an earlier one; nil is none.
func (p *Proxy) SetTrap(t *Trap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = t
}

// pass lets a request through, or springs at it.
func (t *Trap) pass(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	if t == nil || !t.meets(r) {
		forward.ServeHTTP(w, r)
		return
	}
	if t.done {
		forward.ServeHTTP(httptest.NewRecorder(), r)
	}
	t.spring()
	close(t.sprung)
	panic(http.ErrAbortHandler)
}

// meets notes a write, and says whether it is the one.
func (t *Trap) meets(r *http.Request) bool {
	resource, ours := strings.CutPrefix(inNamespace(r.URL.Path), t.namespace+"/")
	if !ours || r.Method == http.MethodGet || resource == "events" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	write := Write{Request: r.Method + " " + resource, Nth: 1}
	for _, w := range t.seen {
		if w.Request == write.Request {
			write.Nth++
		}
	}
	t.seen = append(t.seen, write)
	return write == t.at
}

// inNamespace is NAMESPACE/RESOURCE[/SUBRESOURCE] of a request's path, without
// the object's name.
func inNamespace(path string) string {
	_, after, _ := strings.Cut(path, "/namespaces/")
	parts := strings.Split(after, "/")
	switch {
	case len(parts) < 2:
		return ""
	case len(parts) < 4:
		return parts[0] + "/" + parts[1]
	default:
		return parts[0] + "/" + parts[1] + "/" + parts[3]
	}
}
