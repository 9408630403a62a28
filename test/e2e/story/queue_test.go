package story

import (
	"context"
	"errors"

	"understudy.dev/understudy/test/e2e/queue"
)

// queueMoves is for cluster.Until: the local process has taken more than it had.
func queueMoves(m queue.Monitor, since queue.Counters) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := m.Read(ctx)
		if err == nil && c.By("local") <= since.By("local") {
			err = errors.New("the local process has taken nothing new")
		}
		return err
	}
}
