package probe

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// defaultSilence is how long a connection may say nothing before it is reset: it
	// waits for the other side to begin, which a probe never does. A TCP probe closes
	// at once.
	defaultSilence = 3 * time.Second
	// patience with a whole question. The kubelet's own begins at a second.
	patience = 5 * time.Second
	// atOnce is how many connections are answered at the same time; more are reset.
	atOnce = 64
	// maxHeader of a question in bytes.
	maxHeader = 64 << 10
)

// Answers are those to a set of probes. Its methods may be called at the same time.
type Answers struct {
	server  *http.Server
	queue   *queue
	tls     *tls.Config
	served  sync.WaitGroup
	silence time.Duration

	mu     sync.Mutex
	probes []Probe
	open   map[*question]bool // nil when closed
}

// New answers these probes until Close.
func New(probes []Probe) (*Answers, error) {
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	a := &Answers{
		queue: &queue{conns: make(chan net.Conn), done: make(chan struct{})},
		// The kubelet does not verify.
		tls:     &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12},
		silence: defaultSilence,
		probes:  slices.Clone(probes),
		open:    map[*question]bool{},
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	a.server = &http.Server{
		Handler: http.HandlerFunc(a.answer), Protocols: protocols,
		ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: patience, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if wrapped, ok := conn.(*tls.Conn); ok {
				conn = wrapped.NetConn()
			}
			return context.WithValue(ctx, connKey{}, conn)
		},
	}
	a.served.Go(func() { _ = a.server.Serve(a.queue) })
	return a, nil
}

// Set exchanges the probes.
func (a *Answers) Set(probes []Probe) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.probes = slices.Clone(probes)
}

// Close ends all answers, those that are being given too.
func (a *Answers) Close() {
	a.mu.Lock()
	open := a.open
	a.open = nil
	a.mu.Unlock()
	for q := range open {
		q.reset()
	}
	a.queue.Close()
	a.server.Close()
	a.served.Wait()
}

// at lists the probes of a port.
func (a *Answers) at(port uint16) []Probe {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []Probe
	for _, p := range a.probes {
		if p.Port == port {
			found = append(found, p)
		}
	}
	return found
}

// Serve answers a connection to the port if it is a probe, resets it otherwise, and
// closes it. It returns at once.
func (a *Answers) Serve(conn net.Conn, port uint16) {
	q := &question{Conn: conn, port: port, reader: bufio.NewReader(conn), answers: a}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil || len(a.open) == atOnce {
		reset(conn)
		return
	}
	a.open[q] = true
	a.served.Go(func() { a.hear(q) })
}

func (a *Answers) forget(q *question) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, q)
}

// hear finds out from the first byte what a connection speaks.
func (a *Answers) hear(q *question) {
	_ = q.SetReadDeadline(time.Now().Add(a.silence))
	first, err := q.reader.Peek(1)
	if err == io.EOF {
		// Connected and closed: a TCP probe, which has had its answer.
		q.Close()
		return
	}
	var plain, encrypted bool
	for _, p := range a.at(q.port) {
		plain = plain || p.Kind == GRPC || p.Kind == HTTP && !p.TLS
		encrypted = encrypted || p.Kind != TCP && p.TLS
	}
	// What a client begins TLS with (RFC 8446, 5.1: content type handshake).
	const handshake = 22
	var next net.Conn
	switch {
	case err != nil:
	case first[0] == handshake && encrypted:
		next = tls.Server(q, a.tls)
	case first[0] != handshake && plain:
		next = q
	}
	if next == nil {
		q.reset()
		return
	}
	_ = q.SetReadDeadline(time.Time{})
	if !a.queue.put(next) {
		q.reset()
	}
}

// answer says yes to a probe, and resets what is none.
func (a *Answers) answer(w http.ResponseWriter, r *http.Request) {
	q := r.Context().Value(connKey{}).(*question)
	for _, p := range a.at(q.port) {
		switch {
		case p.Kind == HTTP && p.TLS == (r.TLS != nil) && p.isAskedBy(r):
			w.Header().Set("Connection", "close")
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "ok\n")
			return
		case p.Kind == GRPC && isHealthCheck(r):
			if service, ok := readService(r.Body); ok && service == p.Service {
				sayServing(w)
				return
			}
		}
	}
	q.reset()
	panic(http.ErrAbortHandler)
}

type connKey struct{}

// question is one connection that may be a probe.
type question struct {
	net.Conn
	port    uint16
	reader  *bufio.Reader
	answers *Answers
}

func (q *question) Read(b []byte) (int, error) { return q.reader.Read(b) }

func (q *question) Close() error {
	q.answers.forget(q)
	return q.Conn.Close()
}

func (q *question) reset() {
	q.answers.forget(q)
	reset(q.Conn)
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// queue hands connections to the HTTP server.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (q *queue) put(conn net.Conn) bool {
	select {
	case q.conns <- conn:
		return true
	case <-q.done:
		return false
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

// selfSigned is a certificate that nobody verifies.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key for probes: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate for probes: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
