package fault

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Answer is what a proxy says instead of the API server.
type Answer int

// The answers of an API server that is ill.
const (
	// Passes everything on.
	Passes Answer = iota
	// TooMany is 429, with the word to come again in a second.
	TooMany
	// InternalError is 500.
	InternalError
	// Nothing is no answer at all, for as long as that lasts.
	Nothing
	// Conflicts is 409 to the first change of each object, and the truth
	// afterwards.
	Conflicts
)

// Proxy stands before the API server, for one account. What is open when it
// begins to fail stays open: watches, and the developer's tunnel.
type Proxy struct {
	server *httptest.Server

	mu     sync.Mutex
	answer Answer
	// over is closed when the answer changes.
	over    chan struct{}
	changed map[string]bool
	failed  int
	trap    *Trap
}

// NewProxy makes a proxy on loopback that reaches the API server as the account
// of the configuration.
func NewProxy(config *rest.Config) (*Proxy, error) {
	target, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's address: %w", err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	p := &Proxy{over: make(chan struct{}), changed: map[string]bool{}}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})
	forward.Transport, forward.FlushInterval = transport, -1
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.fails(w, r) {
			p.trapped().pass(w, r, forward)
		}
	}))
	p.server.EnableHTTP2 = true
	p.server.StartTLS()
	return p, nil
}

// Kubeconfig reaches the API server by way of the proxy, which has the
// credentials.
func (p *Proxy) Kubeconfig(namespace string) ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = &clientcmdapi.Cluster{
		Server:                   p.server.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}),
	}
	config.AuthInfos["proxied"] = &clientcmdapi.AuthInfo{}
	config.Contexts["work"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "proxied", Namespace: namespace}
	config.CurrentContext = "work"
	return clientcmd.Write(*config)
}

// Set changes what it answers from now on, and returns how often it has failed
// since the last time.
func (p *Proxy) Set(answer Answer) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.over)
	p.answer, p.over, p.changed = answer, make(chan struct{}), map[string]bool{}
	failed := p.failed
	p.failed = 0
	return failed
}

// Close ends all that goes through it.
func (p *Proxy) Close() {
	p.Set(Passes)
	p.server.CloseClientConnections()
	p.server.Close()
}

// fails answers in the API server's place, or says that it does not.
func (p *Proxy) fails(w http.ResponseWriter, r *http.Request) bool {
	p.mu.Lock()
	answer, over := p.answer, p.over
	if answer == Conflicts {
		change := r.Method == http.MethodPut || r.Method == http.MethodPatch
		if !change || p.changed[r.URL.Path] {
			answer = Passes
		} else {
			p.changed[r.URL.Path] = true
		}
	}
	if answer != Passes {
		p.failed++
	}
	p.mu.Unlock()
	switch answer {
	case TooMany:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "TooManyRequests")
	case InternalError:
		refuse(w, http.StatusInternalServerError, "InternalError")
	case Conflicts:
		refuse(w, http.StatusConflict, "Conflict")
	case Nothing:
		select {
		case <-over:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case Passes:
	}
	return answer != Passes
}

func (p *Proxy) trapped() *Trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trap
}

func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"a fault that the test has made","reason":%q,"code":%d}`, reason, code)
}

// ErrNoFault is for a case in which nothing failed: it has proved nothing.
var ErrNoFault = errors.New("nothing was made to fail")
