package mux

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// The ring against the simplest thing that could be one.
func TestRingAgainstSlice(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	fill := rand.NewChaCha8([32]byte{byte(seed)})
	const window = 1 << 14
	var q ring
	var want []byte
	for range 5000 {
		if room := window - len(want); room > 0 && random.IntN(2) == 0 {
			piece := make([]byte, 1+random.IntN(room))
			fill.Read(piece)
			// A slice that somebody holds stays what it was when the ring grows.
			held := q.content()
			was := bytes.Clone(held)
			first, second := q.reserve(len(piece), true)
			copy(second, piece[copy(first, piece):])
			q.w += uint64(len(piece))
			if !bytes.Equal(held, was) {
				t.Fatal("a slice in use has changed")
			}
			want = append(want, piece...)
		} else if len(want) > 0 {
			got := q.content()
			if !bytes.Equal(got, want[:len(got)]) || len(got) == 0 {
				t.Fatalf("%d bytes are not what was written", len(got))
			}
			n := 1 + random.IntN(len(got))
			q.r += uint64(n)
			want = want[n:]
		}
		if len(q.buf) > window {
			t.Fatalf("%d bytes of memory for a window of %d", len(q.buf), window)
		}
		if len(want) == 0 {
			if q.free(); q.buf != nil {
				t.Fatal("memory is kept")
			}
		}
	}
}
