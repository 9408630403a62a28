package mux

import (
	"encoding/binary"
	"fmt"
)

// Frame types.
const (
	frameOpen   = 1 // uint32 window, header
	frameReply  = 2 // uint32 window, reply
	frameData   = 3 // bytes
	frameWindow = 4 // uint32 bytes more that may be sent
	frameFin    = 5 // nothing: the sender sends no more
	frameStop   = 6 // nothing: the sender reads no more
	frameReset  = 7 // byte code: both directions have ended
)

const (
	headerSize = 8
	// MaxData of one DATA frame: large enough to cost little, small enough for
	// others to get a turn in between.
	MaxData = 16 << 10
	// MaxHeader of what comes with OPEN and REPLY.
	MaxHeader = 16 << 10
)

// header is the first 8 bytes of each frame.
type header struct {
	kind   byte
	length int
	id     uint32
}

func (h header) encode() [headerSize]byte {
	var b [headerSize]byte
	b[0] = h.kind
	binary.BigEndian.PutUint16(b[2:], uint16(h.length))
	binary.BigEndian.PutUint32(b[4:], h.id)
	return b
}

// decodeHeader checks all that can be checked without the stream.
func decodeHeader(b [headerSize]byte) (header, error) {
	h := header{kind: b[0], length: int(binary.BigEndian.Uint16(b[2:])), id: binary.BigEndian.Uint32(b[4:])}
	low, high := 0, 0
	switch h.kind {
	case frameOpen, frameReply:
		low, high = 4, 4+MaxHeader
	case frameData:
		low, high = 1, MaxData
	case frameWindow:
		low, high = 4, 4
	case frameReset:
		low, high = 1, 1
	case frameFin, frameStop:
	default:
		return h, fmt.Errorf("unknown stream frame of type %d", h.kind)
	}
	if h.length < low || h.length > high || b[1] != 0 || h.id == 0 {
		return h, fmt.Errorf("malformed stream frame %x", b)
	}
	return h, nil
}
