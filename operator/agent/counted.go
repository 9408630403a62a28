package agent

import (
	"net"
	"sync"
)

// counted is a listener that says once when it is closed.
type counted struct {
	net.Listener
	once   sync.Once
	closed func()
}

func (c *counted) Close() error {
	err := c.Listener.Close()
	c.once.Do(c.closed)
	return err
}
