package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// sockets gives both ends of a websocket.
func sockets(t *testing.T) (near, far *websocket.Conn) {
	t.Helper()
	accepted := make(chan *websocket.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		accepted <- ws
	}))
	t.Cleanup(srv.Close)
	near, answer, err := websocket.DefaultDialer.Dial(strings.Replace(srv.URL, "http", "ws", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	far = <-accepted
	t.Cleanup(func() { near.Close(); far.Close() })
	for _, end := range []*websocket.Conn{near, far} {
		_ = end.SetReadDeadline(time.Now().Add(20 * time.Second))
	}
	return near, far
}

// frameOf is a frame of SPDY with a payload of n bytes.
func frameOf(n int) []byte {
	frame := binary.BigEndian.AppendUint32(nil, 3)
	frame = binary.BigEndian.AppendUint32(frame, 1<<24|uint32(n))
	return append(frame, bytes.Repeat([]byte{byte(n)}, n)...)
}

// However a frame is cut into writes, and whatever is written with it, it is
// one message.
func TestEachFrameIsOneMessage(t *testing.T) {
	near, far := sockets(t)
	m := &messages{ws: near}
	sizes := []int{0, 1, 4, 70_000, 0, 0, 300, 33_792, 5}
	var all []byte
	for _, n := range sizes {
		all = append(all, frameOf(n)...)
	}
	wrote := make(chan error, 1)
	go func() {
		for rest := all; len(rest) > 0; {
			n, err := m.Write(rest[:min(len(rest), 1+rand.IntN(12)*rand.IntN(5000))])
			if err != nil {
				wrote <- err
				return
			}
			rest = rest[n:]
		}
		wrote <- nil
	}()
	for i, n := range sizes {
		kind, got, err := far.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if kind != websocket.BinaryMessage || !bytes.Equal(got, frameOf(n)) {
			t.Fatalf("message %d is of type %d and %d bytes, want the frame of %d alone", i, kind, len(got), spdyHeader+n)
		}
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// Messages are read as one stream of bytes, and their end as the stream's.
func TestMessagesAreRead(t *testing.T) {
	near, far := sockets(t)
	m := &messages{ws: near}
	go func() {
		for _, piece := range []string{"", "take ", "", "over"} {
			_ = far.WriteMessage(websocket.BinaryMessage, []byte(piece))
		}
		_ = far.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Minute))
	}()
	got, err := io.ReadAll(m)
	if err != nil || string(got) != "take over" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestMessageOfAnotherTypeIsRefused(t *testing.T) {
	near, far := sockets(t)
	m := &messages{ws: near}
	go func() { _ = far.WriteMessage(websocket.TextMessage, []byte("text")) }()
	if n, err := m.Read(make([]byte, 8)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}
