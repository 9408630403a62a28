package connection

import (
	"errors"
	"fmt"
)

// Way of ending a connection.
type Way int

const (
	// Either: by netlink, and what cannot be ended so by its descriptor.
	Either Way = iota
	ByNetlink
	ByDescriptor
)

// rounds is how often is looked whether any are left: a table of sockets that is
// read while it changes may have been read with a hole.
const rounds = 3

// Destroy ends the connections of the processes that list lists, which are to
// be frozen, and returns how many; then it looks again. Where some could not be
// ended the others are, and the error says which.
func Destroy(list func() ([]int, error), way Way) (int, error) {
	total := 0
	for range rounds {
		ended, err := round(list, way)
		total += ended
		if err != nil {
			return total, fmt.Errorf("ending connections: %w", err)
		}
		if ended == 0 {
			break
		}
	}
	return total, nil
}

func round(list func() ([]int, error), way Way) (int, error) {
	held, err := find(list)
	if err != nil {
		return 0, err
	}
	defer held.close()
	done := map[uint64]bool{}
	var errs []error
	if way != ByDescriptor {
		for _, p := range held.namespaces() {
			destroyed, err := held.destroyIn(p)
			for _, inode := range destroyed {
				done[inode] = true
			}
			errs = append(errs, err)
		}
	}
	if way == ByNetlink {
		return len(done), errors.Join(errs...)
	}
	// Of what is left each is looked at, so when this succeeds all are ended,
	// whatever netlink could not do.
	disconnected, err := held.disconnect(func(inode uint64) bool { return done[inode] })
	if err != nil {
		err = errors.Join(append(errs, err)...)
	}
	return len(done) + disconnected, err
}
