package mux

import (
	"bytes"
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// record notes what an end sends, byte for byte.
type record struct {
	memory
	sent *bytes.Buffer
}

func (r record) Write(parts ...[]byte) error { return r.Push(parts...) }

func (r record) Push(parts ...[]byte) error {
	for _, part := range parts {
		r.sent.Write(part)
	}
	return nil
}

// All frames of one end, as a transcript.
func TestGoldenBytes(t *testing.T) {
	var sent bytes.Buffer
	a, b := newPipe(), newPipe()
	config := small
	config.Odd = true
	session := New(record{memory{a, b}, &sent}, config)
	session.Start()
	defer session.Wait()
	defer session.link.Fail(io.ErrClosedPipe)
	stream, err := session.register([]byte("head"))
	if err != nil {
		t.Fatal(err)
	}
	stream.Reply([]byte("ok"))
	stream.mu.Lock()
	stream.credit = 100
	stream.granted = time.Now().Add(-idleWindow / 2)
	stream.mu.Unlock()
	stream.Write([]byte("data"))
	first, _, _ := stream.reserve(5000)
	clear(first)
	stream.filled(5000)
	stream.Read(make([]byte, 5000))
	stream.CloseWrite()
	stream.CloseRead()
	second, _ := session.register(nil)
	second.Reset(CodeCanceled)

	path := filepath.Join("testdata", "frames.hex")
	got := hex.EncodeToString(sent.Bytes())
	if *update {
		if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(want)) != got {
		t.Errorf("the bytes have changed, and with them the protocol:\n got %s\nwant %s", got, want)
	}
}

func FuzzDecodeHeader(f *testing.F) {
	f.Add([]byte{frameData, 0, 0, 1, 0, 0, 0, 1})
	f.Add([]byte{frameOpen, 0, 0, 4, 0, 0, 0, 1})
	f.Add([]byte{frameReset, 0, 0, 1, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize {
			return
		}
		raw := [headerSize]byte(b)
		h, err := decodeHeader(raw)
		if err == nil && (h.encode() != raw || h.length > 4+MaxHeader) {
			t.Errorf("%x decoded as %+v", raw, h)
		}
	})
}

// Whatever a peer sends, a session ends without a panic, and holds no stream.
func FuzzSession(f *testing.F) {
	f.Add([]byte{frameOpen, 0, 0, 5, 0, 0, 0, 1, 0, 0, 1, 0, 'x', frameData, 0, 0, 2, 0, 0, 0, 1, 'a', 'b', frameFin, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{frameOpen, 0, 0, 4, 0, 0, 0, 1, 0, 0, 1, 0, frameStop, 0, 0, 0, 0, 0, 0, 1, frameReset, 0, 0, 1, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		in, out := newPipe(), newPipe()
		config := small
		config.MaxStreams = 3
		config.Accept = func(s *Stream, _ []byte) {
			s.Reply([]byte("r"))
			go s.Write([]byte("some"))
			io.Copy(io.Discard, s)
			s.Close()
		}
		link := memory{in, out}
		memory{out, in}.Push(b)
		session := New(link, config)
		session.Start()
		in.mu.Lock()
		in.err = io.EOF // after what is there
		in.cond.Broadcast()
		in.mu.Unlock()
		session.Wait()
		if session.Streams() != 0 {
			t.Error("a stream is left")
		}
	})
}
