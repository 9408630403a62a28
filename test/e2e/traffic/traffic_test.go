package traffic

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// server answers on this machine's loopback.
func server(t *testing.T) Dial {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go Serve(l)
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
}

func TestMeasure(t *testing.T) {
	dial := server(t)
	for what, want := range map[string]int{Connect: 7, RoundTrip: 7, Beside: 7, Up: 1, Down: 1} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		a, err := Measure(ctx, dial, Request{What: what, Count: 7, Bytes: 1<<20 + 1})
		cancel()
		if err != nil {
			t.Error(err)
			continue
		}
		if len(a.Times) != want {
			t.Errorf("%s: %d times, not %d", what, len(a.Times), want)
		}
		for _, took := range a.Times {
			if took <= 0 {
				t.Errorf("%s: took %s", what, took)
			}
		}
		if moves := what == Up || what == Down || what == Beside; moves != (a.Rate > 0) {
			t.Errorf("%s: a rate of %f", what, a.Rate)
		}
	}
}

// A far end that goes away in the middle is an error, not a fast run.
func TestCutShort(t *testing.T) {
	dial := func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			far.Write([]byte{acknowledged})
			io.CopyN(io.Discard, far, 9)
			far.Write(make([]byte, 10))
		}()
		return near, nil
	}
	if a, err := Measure(t.Context(), dial, Request{What: Down, Bytes: 11}); err == nil {
		t.Errorf("10 of 11 bytes were measured as %+v", a)
	}
	if _, err := Measure(t.Context(), dial, Request{What: "sideways"}); err == nil {
		t.Error("what nobody knows how to measure was measured")
	}
}

func TestEndsWithTheContext(t *testing.T) {
	silent := func(context.Context) (net.Conn, error) {
		near, _ := net.Pipe()
		return near, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Measure(ctx, silent, Request{What: Connect, Count: 1})
	if err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("a far end that says nothing: %v", err)
	}
}
