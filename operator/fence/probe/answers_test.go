package probe

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// enough is for what has to come; nothing takes as long.
const enough = 10 * time.Second

const port = 8080

// answering serves connections to the returned address with answers to probes.
func answering(t *testing.T, silence time.Duration, probes ...Probe) (*Answers, string) {
	t.Helper()
	a, err := New(probes)
	if err != nil {
		t.Fatal(err)
	}
	a.silence = silence
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			a.Serve(conn, port)
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done; a.Close() })
	return a, listener.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(enough))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func wantReset(t *testing.T, what string, conn net.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: %d bytes and %v, want a reset", what, n, err)
	}
}

// Who waits for the other side to begin is not kept waiting.
func TestSilenceIsReset(t *testing.T) {
	_, addr := answering(t, 50*time.Millisecond, Probe{Kind: TCP, Port: port})
	wantReset(t, "a silent connection", dial(t, addr))
}

// awaitKept waits until so many connections are kept.
func awaitKept(t *testing.T, a *Answers, want int) {
	t.Helper()
	for deadline := time.Now().Add(enough); ; time.Sleep(time.Millisecond) {
		a.mu.Lock()
		open := len(a.open)
		a.mu.Unlock()
		if open == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are kept, not %d", open, want)
		}
	}
}

// More connections than are answered at once are reset, and room comes again.
func TestMoreThanAtOnce(t *testing.T) {
	a, addr := answering(t, time.Hour, Probe{Kind: HTTP, Port: port, Path: "/"})
	waiting := make([]net.Conn, atOnce)
	for i := range waiting {
		waiting[i] = dial(t, addr)
	}
	// The reset may be there before the connection is seen to be.
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.SetDeadline(time.Now().Add(enough))
		wantReset(t, "one too many", conn)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many: %v", err)
	}
	for _, conn := range waiting {
		conn.Close()
	}
	awaitKept(t, a, 0)
	conn := dial(t, addr)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.37\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK\r\n") {
		t.Errorf("%q, %v", answer, err)
	}
}

// The end does not wait for those who say nothing.
func TestCloseResets(t *testing.T) {
	a, addr := answering(t, time.Hour, Probe{Kind: HTTP, Port: port, Path: "/"})
	silent, slow := dial(t, addr), dial(t, addr)
	if _, err := io.WriteString(slow, "GET / HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	awaitKept(t, a, 2)
	a.Close()
	wantReset(t, "a silent connection", silent)
	wantReset(t, "half a question", slow)
}

func TestReadService(t *testing.T) {
	for text, want := range map[string]struct {
		service string
		ok      bool
	}{
		"\x00\x00\x00\x00\x00":                     {"", true},
		"\x00\x00\x00\x00\x06\x0a\x04shop":         {"shop", true},
		"":                                         {},
		"\x00\x00\x00\x00\x06\x0a\x04sho":          {}, // cut off
		"\x01\x00\x00\x00\x00":                     {}, // compressed
		"\x00\xff\xff\xff\xff":                     {}, // too long
		"\x00\x00\x00\x00\x06\x0a\x05shop":         {}, // longer than its message
		"\x00\x00\x00\x00\x08\x0a\x04shop\x10\x01": {}, // a field that a probe has not
		"\x00\x00\x00\x00\x01\x0a":                 {},
		"\x00\x00\x00\x00\x02\x12\x00":             {},
	} {
		if service, ok := readService(strings.NewReader(text)); service != want.service || ok != want.ok {
			t.Errorf("%q: %q, %v", text, service, ok)
		}
	}
}
