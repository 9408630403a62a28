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
// be frozen, those that were not accepted yet among them, and returns how many; then
// it looks again. Where some could not be ended the others are, and the error says
// which. Where descriptors may not be copied, netlink's word is enough.
func Destroy(list func() ([]int, error), way Way) (int, error) {
	ended, err := untilNone(list, func(h *held) (int, error) { return h.destroy(way) })
	if err != nil {
		err = fmt.Errorf("ending connections: %w", err)
	}
	return ended, err
}

// Discard ends the connections of the processes that list lists, which are to be
// frozen, and with them what has arrived and was not read, also in those that
// the other end has closed or Destroy has: that closes a socket and leaves it to be
// read. Those that were not accepted yet are reset. So the processes read nothing of
// it when they run again. The error is ErrRefused where it cannot be done.
func Discard(list func() ([]int, error)) error {
	if _, err := untilNone(list, (*held).discard); err != nil {
		return fmt.Errorf("discarding what was not read: %w", err)
	}
	return nil
}

// untilNone does something to the sockets of processes as often as it is said to have
// met any, and returns how many it has met.
func untilNone(list func() ([]int, error), do func(*held) (int, error)) (int, error) {
	total := 0
	for range rounds {
		held, err := find(list)
		if err != nil {
			return total, err
		}
		met, err := do(held)
		held.close()
		total += met
		if err != nil || met == 0 {
			return total, err
		}
	}
	return total, nil
}

func (h *held) destroy(way Way) (int, error) {
	done := map[uint64]bool{}
	var errs []error
	if way != ByDescriptor {
		for _, p := range h.namespaces() {
			destroyed, err := h.destroyIn(p)
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
	disconnected, err := h.each(func(inode uint64) bool { return !done[inode] }, disconnect)
	if failed := errors.Join(errs...); err != nil && (failed != nil || !errors.Is(err, ErrRefused)) {
		return len(done) + disconnected, errors.Join(failed, err)
	}
	return len(done) + disconnected, nil
}
