package replay

import "sync"

// chunkSize of the pieces that the backlog takes and frees memory in.
const chunkSize = 32 << 10

// backlog holds the bytes that were written and are not yet acknowledged, by
// their offsets in the stream. Memory follows the content.
type backlog struct {
	chunks []*[chunkSize]byte
	// base is the offset of the first byte of chunks[0].
	base uint64
	// start and end are the offsets of the first byte held and of the next to come.
	start, end uint64
}

// chunkPool keeps chunks from being freed and taken again all the time; what
// is not used for two collections is freed.
var chunkPool = sync.Pool{New: func() any { return new([chunkSize]byte) }}

func (b *backlog) len() int { return int(b.end - b.start) }

func (b *backlog) append(p []byte) {
	for len(p) > 0 {
		used := b.end - b.base
		if used == uint64(len(b.chunks))*chunkSize {
			b.chunks = append(b.chunks, chunkPool.Get().(*[chunkSize]byte))
		}
		n := copy(b.chunks[used/chunkSize][used%chunkSize:], p)
		b.end += uint64(n)
		p = p[n:]
	}
}

// copyTo fills p with the bytes from offset on, and says how many there were.
func (b *backlog) copyTo(p []byte, offset uint64) int {
	total := 0
	for total < len(p) && offset < b.end {
		at := offset - b.base
		piece := b.chunks[at/chunkSize][at%chunkSize:]
		if left := b.end - offset; uint64(len(piece)) > left {
			piece = piece[:left]
		}
		n := copy(p[total:], piece)
		total += n
		offset += uint64(n)
	}
	return total
}

// release frees what is before offset.
func (b *backlog) release(offset uint64) {
	b.start = offset
	done := int((offset - b.base) / chunkSize)
	if done == 0 {
		return
	}
	for _, chunk := range b.chunks[:done] {
		chunkPool.Put(chunk)
	}
	left := copy(b.chunks, b.chunks[done:])
	clear(b.chunks[left:])
	b.chunks = b.chunks[:left]
	b.base += uint64(done) * chunkSize
}
