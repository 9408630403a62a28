package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"understudy.dev/understudy/operator/tunnel/mux"
)

// flow is a stream of datagrams. A Read that is interrupted by a deadline
// loses nothing: what of a datagram has arrived stays here.
type flow struct {
	stream        *mux.Stream
	local, remote netip.AddrPort

	reading sync.Mutex
	head    [2]byte
	headN   int
	body    []byte
	bodyN   int

	// writing keeps one datagram's bytes together.
	writing sync.Mutex
}

// next waits for one whole datagram, which is the caller's to keep.
func (f *flow) next() ([]byte, error) {
	f.reading.Lock()
	defer f.reading.Unlock()
	for f.headN < len(f.head) {
		n, err := f.stream.Read(f.head[f.headN:])
		f.headN += n
		if err != nil {
			return nil, cutShort(err, f.headN > 0)
		}
	}
	if f.body == nil {
		length := int(binary.BigEndian.Uint16(f.head[:]))
		if length > MaxDatagram {
			return nil, fmt.Errorf("datagram of %d bytes: %w", length, ErrTooLarge)
		}
		f.body = make([]byte, length)
	}
	for f.bodyN < len(f.body) {
		n, err := f.stream.Read(f.body[f.bodyN:])
		f.bodyN += n
		if err != nil {
			return nil, cutShort(err, true)
		}
	}
	body := f.body
	f.headN, f.body, f.bodyN = 0, nil, 0
	return body, nil
}

func cutShort(err error, inside bool) error {
	if errors.Is(err, io.EOF) {
		if inside {
			return io.ErrUnexpectedEOF
		}
		return io.EOF
	}
	return streamError(err)
}

func (f *flow) Read(p []byte) (int, error) {
	body, err := f.next()
	return copy(p, body), err
}

func (f *flow) Write(p []byte) (int, error) {
	if len(p) > MaxDatagram {
		return 0, fmt.Errorf("datagram of %d bytes: %w", len(p), ErrTooLarge)
	}
	packet := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(p)), uint16(len(p)))
	f.writing.Lock()
	defer f.writing.Unlock()
	if _, err := f.stream.Write(append(packet, p...)); err != nil {
		return 0, streamError(err)
	}
	return len(p), nil
}

func (f *flow) Close() error         { return f.stream.Close() }
func (f *flow) LocalAddr() net.Addr  { return net.UDPAddrFromAddrPort(f.local) }
func (f *flow) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(f.remote) }

func (f *flow) SetDeadline(t time.Time) error      { return f.stream.SetDeadline(t) }
func (f *flow) SetReadDeadline(t time.Time) error  { return f.stream.SetReadDeadline(t) }
func (f *flow) SetWriteDeadline(t time.Time) error { return f.stream.SetWriteDeadline(t) }
