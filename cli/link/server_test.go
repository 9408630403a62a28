package link

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
)

// server is the API server's port-forward, as far as a client sees it. A real
// one is used by the tests of the whole.
type server struct {
	t testing.TB
	// forbidden is how many requests are refused for lack of rights first.
	forbidden int
	// deaf refuses websockets, as old servers and some proxies do.
	deaf bool
	// refuse is what the node says instead of forwarding.
	refuse string
	// serve handles the data stream; echo by default.
	serve func(io.ReadWriteCloser)

	mu   sync.Mutex
	seen []string // method, path and port of each request
}

func (s *server) start() *Dialer {
	srv := httptest.NewServer(s)
	s.t.Cleanup(srv.Close)
	return &Dialer{Config: &rest.Config{Host: srv.URL}, Namespace: "shop"}
}

func (s *server) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, what)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.note(r.Method + " " + r.URL.Path)
	if s.forbidden > 0 {
		s.forbidden--
		status := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "x", nil).Status()
		status.Kind, status.APIVersion = "Status", "v1"
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(status)
		return
	}
	if r.Method == http.MethodGet {
		if s.deaf {
			http.Error(w, "upgrade request required", http.StatusBadRequest)
			return
		}
		up := websocket.Upgrader{Subprotocols: []string{"SPDY/3.1+portforward.k8s.io"}}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		conn, err := spdy.NewServerConnection(portforward.NewTunnelingConnection("server", ws), s.stream)
		if err != nil {
			return
		}
		<-conn.CloseChan()
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{"portforward.k8s.io"}); err != nil {
		return
	}
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, s.stream)
	if conn != nil {
		<-conn.CloseChan()
	}
}

func (s *server) stream(stream httpstream.Stream, replied <-chan struct{}) error {
	kind := stream.Headers().Get(corev1.StreamType)
	s.note(kind + " " + stream.Headers().Get(corev1.PortHeader))
	go func() {
		<-replied
		switch {
		case kind == corev1.StreamTypeError && s.refuse != "":
			_, _ = io.WriteString(stream, s.refuse)
			_ = stream.Close()
		case kind == corev1.StreamTypeError:
		case s.refuse != "":
			_ = stream.Close()
		case s.serve != nil:
			s.serve(stream)
		default:
			_, _ = io.Copy(stream, stream)
			_ = stream.Close()
		}
	}()
	return nil
}
