package replay

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// The backlog against the simplest thing that could be one.
func TestBacklogAgainstSlice(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	fill := rand.NewChaCha8([32]byte{byte(seed)})
	var b backlog
	var all []byte
	start := 0
	for range 500 {
		if random.IntN(2) == 0 {
			piece := make([]byte, random.IntN(3*chunkSize))
			fill.Read(piece)
			b.append(piece)
			all = append(all, piece...)
		} else {
			start += random.IntN(len(all) - start + 1)
			b.release(uint64(start))
		}
		if b.len() != len(all)-start {
			t.Fatalf("holds %d bytes, not %d", b.len(), len(all)-start)
		}
		if over := len(b.chunks)*chunkSize - b.len(); over > 2*chunkSize {
			t.Fatalf("%d bytes of memory for %d", len(b.chunks)*chunkSize, b.len())
		}
		from := start + random.IntN(len(all)-start+1)
		got := make([]byte, random.IntN(2*chunkSize))
		n := b.copyTo(got, uint64(from))
		if want := min(len(got), len(all)-from); n != want || !bytes.Equal(got[:n], all[from:from+n]) {
			t.Fatalf("copied %d bytes from %d, wanted %d", n, from, want)
		}
	}
}
