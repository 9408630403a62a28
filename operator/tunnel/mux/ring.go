package mux

import "sync"

// minRing is the smallest buffer a ring takes, in bytes.
const minRing = 1 << 10

// ring is a queue of bytes whose memory grows by doubling with the content, up
// to the window, and is given back when it is empty. Offsets are absolute: r
// of the next byte to read, w of the next to write.
type ring struct {
	buf  []byte // length 0 or a power of two
	r, w uint64
}

// pools of buffers by the power of two of their size.
var pools [33]sync.Pool

func takeBuffer(size int) []byte {
	power := 0
	for 1<<power < size {
		power++
	}
	if b, ok := pools[power].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 1<<power)
}

func giveBuffer(b []byte) {
	power := 0
	for 1<<power < len(b) {
		power++
	}
	pools[power].Put(&b)
}

func (q *ring) len() int { return int(q.w - q.r) }

// reserve returns the one or two pieces of memory where the next n bytes go.
// They count only after w was moved on. inUse says that somebody holds a slice
// of the content.
func (q *ring) reserve(n int, inUse bool) (first, second []byte) {
	need := q.len() + n
	if need > len(q.buf) {
		grown := takeBuffer(max(need, minRing))
		head, tail := q.span(q.buf, q.r, q.len())
		for i, piece := 0, head; i < 2; i, piece = i+1, tail {
			a, b := q.span(grown, q.r+uint64(i*len(head)), len(piece))
			copy(b, piece[copy(a, piece):])
		}
		if q.buf != nil && !inUse {
			giveBuffer(q.buf)
		}
		q.buf = grown
	}
	return q.span(q.buf, q.w, n)
}

// content is the first piece that can be read without a break.
func (q *ring) content() []byte {
	first, _ := q.span(q.buf, q.r, q.len())
	return first
}

func (*ring) span(buf []byte, from uint64, n int) (first, second []byte) {
	if n == 0 {
		return nil, nil
	}
	at := int(from & uint64(len(buf)-1))
	if at+n <= len(buf) {
		return buf[at : at+n], nil
	}
	return buf[at:], buf[:n-(len(buf)-at)]
}

// free gives the memory back; the content must be empty or unwanted, and no
// slice of it in use.
func (q *ring) free() {
	if q.buf != nil {
		giveBuffer(q.buf)
		q.buf = nil
	}
	q.r = q.w
}
