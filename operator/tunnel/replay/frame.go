package replay

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Frame types of the link.
const (
	frameData  = 1 // uint16 length, bytes
	frameAck   = 2 // uint64 bytes received
	framePing  = 3 // uint64 of the sender's own
	framePong  = 4 // the same
	frameClose = 5 // byte reason
)

// maxData of one DATA frame, in bytes: with its header one TLS record.
const maxData = 16<<10 - 3

// frame is one decoded frame; of DATA only the header, the bytes follow.
type frame struct {
	kind  byte
	value uint64 // length, offset, ping or reason
}

// readFrame reads one frame, of DATA the header only. scratch is at least 8 bytes.
func readFrame(r io.Reader, scratch []byte) (frame, error) {
	if _, err := io.ReadFull(r, scratch[:1]); err != nil {
		return frame{}, err
	}
	f := frame{kind: scratch[0]}
	var size int
	switch f.kind {
	case frameData:
		size = 2
	case frameAck, framePing, framePong:
		size = 8
	case frameClose:
		size = 1
	default:
		return frame{}, fmt.Errorf("unknown link frame of type %d", f.kind)
	}
	if _, err := io.ReadFull(r, scratch[:size]); err != nil {
		return frame{}, err
	}
	for _, b := range scratch[:size] {
		f.value = f.value<<8 | uint64(b)
	}
	if f.kind == frameData && (f.value == 0 || f.value > maxData) {
		return frame{}, fmt.Errorf("link frame of %d bytes", f.value)
	}
	return f, nil
}

func appendDataHeader(b []byte, n int) []byte {
	b = append(b, frameData)
	return binary.BigEndian.AppendUint16(b, uint16(n))
}

func appendValue(b []byte, kind byte, value uint64) []byte {
	b = append(b, kind)
	return binary.BigEndian.AppendUint64(b, value)
}
