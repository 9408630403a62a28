package agent

import (
	"errors"
	"net"
	"sync"
)

// joined is several listeners as one. Its Addr is the first one's.
type joined struct {
	net.Listener
	others   []net.Listener
	arriving chan arrival
	closed   chan struct{}
	once     sync.Once
}

type arrival struct {
	conn net.Conn
	err  error
}

func join(listeners []net.Listener) net.Listener {
	if len(listeners) == 1 {
		return listeners[0]
	}
	j := &joined{Listener: listeners[0], others: listeners[1:], arriving: make(chan arrival), closed: make(chan struct{})}
	for _, listener := range listeners {
		go j.collect(listener)
	}
	return j
}

// collect hands over what listener accepts, and each error, until it is closed.
func (j *joined) collect(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case j.arriving <- arrival{conn, err}:
		case <-j.closed:
			if conn != nil {
				conn.Close()
			}
			return
		}
	}
}

func (j *joined) Accept() (net.Conn, error) {
	select {
	case next := <-j.arriving:
		return next.conn, next.err
	case <-j.closed:
		return nil, net.ErrClosed
	}
}

// Close closes all of them.
func (j *joined) Close() error {
	j.once.Do(func() { close(j.closed) })
	err := j.Listener.Close()
	for _, other := range j.others {
		err = errors.Join(err, other.Close())
	}
	return err
}
