package view

import (
	"fmt"
	"hash/fnv"
	"sync"

	"github.com/hanwen/go-fuse/v2/fs"
)

// numberOf is a path's inode number: the same whenever it is looked at.
func numberOf(path string, kind uint32) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(path))
	return (hash.Sum64() | 1) ^ uint64(kind)<<32 // 0 means none
}

// numbers are the inode numbers that nodes have whose path is another's by now,
// or whose file is removed: programs take two files of one number for the same.
type numbers struct {
	mu    sync.Mutex
	taken map[uint64]bool
	count uint64
}

// of is what a new node is known by. Its generation is nobody else's, so that no
// node that is known already is taken for it.
func (n *numbers) of(path string, kind uint32) fs.StableAttr {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count++
	number := numberOf(path, kind)
	for i := 0; n.taken[number]; i++ {
		number = numberOf(fmt.Sprint(path, "\x00", i), kind)
	}
	return fs.StableAttr{Mode: kind, Ino: number, Gen: n.count}
}

// keep has a number given to no other node until it is free again.
func (n *numbers) keep(number uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.taken == nil {
		n.taken = map[uint64]bool{}
	}
	n.taken[number] = true
}

func (n *numbers) free(number uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taken, number)
}
