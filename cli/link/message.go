package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// spdyHeader is the size of a frame's header in bytes; its last three are the
// length of what follows (SPDY/3.1, 2.2).
const spdyHeader = 8

// messages is a websocket as the byte stream that SPDY runs in. Each frame of
// SPDY is one message, though it is written in three pieces or more: a message
// is what the API server and the node hand on as a whole, each time with a
// record of TLS and a turn for every program on the way.
type messages struct {
	ws *websocket.Conn

	reading io.Reader // what is left of a message

	// writeMu is held for each piece of a frame; SPDY itself writes one frame
	// after the other.
	writeMu sync.Mutex
	writing io.WriteCloser // the message of a frame that is not complete
	header  [spdyHeader]byte
	headed  int // bytes of header that are known
	left    int // bytes of the frame after its header

	closing sync.Once
}

var _ net.Conn = (*messages)(nil)

// Read reads what has come of a message, or waits for the next.
func (m *messages) Read(p []byte) (int, error) {
	for {
		if m.reading == nil {
			kind, next, err := m.ws.NextReader()
			var closed *websocket.CloseError
			switch {
			case errors.As(err, &closed) && closed.Code == websocket.CloseNormalClosure:
				return 0, io.EOF
			case err != nil:
				return 0, fmt.Errorf("reading from the API server: %w", err)
			case kind != websocket.BinaryMessage:
				return 0, fmt.Errorf("reading from the API server: message of type %d", kind)
			}
			m.reading = next
		}
		n, err := m.reading.Read(p)
		if errors.Is(err, io.EOF) {
			m.reading, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write writes pieces of frames, and sends a message at the end of each frame.
func (m *messages) Write(p []byte) (int, error) {
	m.writeMu.Lock()
	defer m.writeMu.Unlock()
	written := 0
	for written < len(p) {
		n, err := m.piece(p[written:])
		written += n
		if err != nil {
			return written, fmt.Errorf("writing to the API server: %w", err)
		}
	}
	return written, nil
}

// piece takes what of p belongs to the present frame.
func (m *messages) piece(p []byte) (n int, err error) {
	if m.writing == nil {
		if m.writing, err = m.ws.NextWriter(websocket.BinaryMessage); err != nil {
			return 0, err
		}
		m.headed = 0
	}
	if m.headed < spdyHeader {
		n = copy(m.header[m.headed:], p)
		m.headed += n
		if m.headed == spdyHeader {
			m.left = int(binary.BigEndian.Uint32(m.header[4:]) & 0xffffff)
		}
	} else {
		n = min(len(p), m.left)
		m.left -= n
	}
	if _, err := m.writing.Write(p[:n]); err != nil {
		return 0, err
	}
	if m.headed == spdyHeader && m.left == 0 {
		err = m.writing.Close()
		m.writing = nil
	}
	return n, err
}

// Close ends the websocket at once; the other end is told, if the network takes
// that within a second.
func (m *messages) Close() error {
	err := net.ErrClosed
	m.closing.Do(func() {
		word := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = m.ws.WriteControl(websocket.CloseMessage, word, time.Now().Add(time.Second))
		err = m.ws.Close()
	})
	return err
}

func (m *messages) LocalAddr() net.Addr  { return m.ws.LocalAddr() }
func (m *messages) RemoteAddr() net.Addr { return m.ws.RemoteAddr() }

func (m *messages) SetDeadline(t time.Time) error {
	return errors.Join(m.SetReadDeadline(t), m.SetWriteDeadline(t))
}
func (m *messages) SetReadDeadline(t time.Time) error  { return m.ws.SetReadDeadline(t) }
func (m *messages) SetWriteDeadline(t time.Time) error { return m.ws.SetWriteDeadline(t) }
