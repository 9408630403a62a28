package traffic

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestPlayer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go Serve(l)
	socket := filepath.Join(t.TempDir(), "director")
	d, err := Direct(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- Play(t.Context(), socket, began) }()
	p, err := d.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !p.Started.Equal(began) {
		t.Errorf("it started at %s, not %s", p.Started, began)
	}
	a, err := p.Measure(t.Context(), Request{What: RoundTrip, Address: l.Addr().String(), Count: 3})
	if err != nil || len(a.Times) != 3 {
		t.Errorf("measured %+v, %v", a, err)
	}
	if a, err := p.Measure(t.Context(), Request{What: RoundTrip, Address: "127.0.0.1:1", Count: 3}); err == nil {
		t.Errorf("where nobody listens, %+v was measured", a)
	}
	at, err := p.End(t.Context())
	if err != nil || at.Before(began) {
		t.Errorf("it ended at %s, %v", at, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
