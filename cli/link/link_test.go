package link

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

var agent = Destination{Pod: "worker-x-standin-1", Port: 7447}

func dialed(t *testing.T, d *Dialer) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := d.Dial(ctx, agent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// echoes sends more than any buffer holds and expects it back.
func echoes(t *testing.T, conn net.Conn) {
	t.Helper()
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	wrote := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, bytes.NewReader(sent))
		wrote <- err
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sent, got) {
		t.Error("other bytes came back than were sent")
	}
}

func TestDialOverWebsocket(t *testing.T) {
	s := &server{t: t}
	echoes(t, dialed(t, s.start()))
	want := []string{"GET /api/v1/namespaces/shop/pods/worker-x-standin-1/portforward", "error 7447", "data 7447"}
	if diff := cmp.Diff(want, s.seen); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestDialFallsBackToSPDY(t *testing.T) {
	s := &server{t: t, deaf: true}
	echoes(t, dialed(t, s.start()))
	path := " /api/v1/namespaces/shop/pods/worker-x-standin-1/portforward"
	want := []string{"GET" + path, "POST" + path, "error 7447", "data 7447"}
	if diff := cmp.Diff(want, s.seen); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestDialWaitsForRights(t *testing.T) {
	s := &server{t: t, forbidden: 3}
	echoes(t, dialed(t, s.start()))
	if s.forbidden != 0 {
		t.Errorf("%d refusals were not met", s.forbidden)
	}
}

func TestDialGivesUpOnRights(t *testing.T) {
	s := &server{t: t, forbidden: 1000}
	d := s.start()
	d.ForbiddenFor = time.Nanosecond
	_, err := d.Dial(t.Context(), agent)
	if !apierrors.IsForbidden(err) {
		t.Fatalf("%v is not known for a refusal", err)
	}
	if !strings.Contains(err.Error(), "opening a stream to pod shop/worker-x-standin-1") {
		t.Errorf("%v does not say what was done", err)
	}
	if len(s.seen) > 1 {
		t.Errorf("a refusal by the server was tried again over SPDY: %v", s.seen)
	}
}

func TestDialEndsWithContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // accepts and says nothing
	d := (&server{t: t}).start()
	d.Config.Host = "http://" + listener.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Dial(ctx, agent); err == nil {
		t.Fatal("a silent server was dialed")
	}
}

func TestRefusedPort(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		s := &server{t: t, deaf: deaf, refuse: "dial tcp4 127.0.0.1:7447: connect: connection refused"}
		conn := dialed(t, s.start())
		_, err := conn.Read(make([]byte, 1))
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Message != s.refuse {
			t.Errorf("SPDY %v: read %v, want what the node said", deaf, err)
		}
	}
}

func TestReadDeadline(t *testing.T) {
	conn := dialed(t, (&server{t: t}).start())
	buf := make([]byte, 8)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	for range 2 {
		if _, err := conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %v, want a passed deadline", err)
		}
	}
	// Moved to the past while a Read waits.
	_ = conn.SetReadDeadline(time.Time{})
	go func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }()
	if _, err := conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %v, want a passed deadline", err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Hour))
	echoes(t, conn)
}

func TestWriteDeadlineEndsConnection(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	s := &server{t: t, serve: func(io.ReadWriteCloser) { <-release }}
	for _, deaf := range []bool{false, true} {
		s.deaf = deaf
		conn := dialed(t, s.start())
		_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		// More than all buffers on the way hold.
		_, err := conn.Write(make([]byte, 64<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("SPDY %v: wrote %v, want a passed deadline", deaf, err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("SPDY %v: the connection lives on", deaf)
		}
	}
}

func TestCloseWakesReadAndWrite(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	s := &server{t: t, serve: func(io.ReadWriteCloser) { <-release }}
	for _, deaf := range []bool{false, true} {
		s.deaf = deaf
		conn := dialed(t, s.start())
		ended := make(chan error, 2)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			ended <- err
		}()
		go func() {
			var err error
			for err == nil {
				_, err = conn.Write(make([]byte, 1<<20))
			}
			ended <- err
		}()
		_ = conn.Close()
		for range 2 {
			select {
			case err := <-ended:
				if err == nil {
					t.Error("no error after Close")
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("SPDY %v: Close woke nobody", deaf)
			}
		}
	}
}

func TestServerEndsConnection(t *testing.T) {
	s := &server{t: t, serve: func(rw io.ReadWriteCloser) {
		_, _ = io.WriteString(rw, "bye")
		_ = rw.Close()
	}}
	conn := dialed(t, s.start())
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "bye" {
		t.Errorf("read %q, %v", got, err)
	}
}
