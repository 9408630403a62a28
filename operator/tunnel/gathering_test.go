package tunnel

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"testing"
)

// counting notes how large each write is.
type counting struct {
	net.Conn
	mu     sync.Mutex
	writes []int
}

func (c *counting) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, len(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *counting) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = nil
}

// The records of one write are one write below, and arrive as they were.
func TestRecordsOfOneWriteLeaveTogether(t *testing.T) {
	ownerKey, agentKey := newECDSA(t), newEd25519(t)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	below := &counting{Conn: near}
	accepted := make(chan net.Conn, 1)
	go func() {
		s, err := NewServer(ServerConfig{Key: agentKey, ClientKey: public(t, ownerKey)})
		if err != nil {
			t.Error(err)
			accepted <- nil
			return
		}
		conn, err := s.secure(t.Context(), far)
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
	}()
	own, err := selfSigned(ownerKey)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := secure(t.Context(), below, pinned(own, Fingerprint(public(t, agentKey))))
	if err != nil {
		t.Fatal(err)
	}
	other := <-accepted
	if other == nil {
		t.FailNow()
	}
	for _, size := range []int{1, maxPlaintext, maxPlaintext + 1, 5*maxPlaintext + 17} {
		below.forget()
		sent := make([]byte, size)
		rand.Read(sent)
		go conn.Write(sent)
		got := make([]byte, size)
		if _, err := io.ReadFull(other, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("%d bytes arrived as others", size)
		}
		below.mu.Lock()
		if len(below.writes) != 1 {
			t.Errorf("a write of %d bytes was %d below, of %v bytes", size, len(below.writes), below.writes)
		}
		below.mu.Unlock()
	}
}
