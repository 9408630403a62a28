package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Worker takes messages from the shared consumer, works on each and
// acknowledges it.
//
// It asks with pull requests that do not expire and acknowledges without
// waiting, so that the server sends it deliveries and nothing else: that is
// what makes the server's counter of its connection a count of deliveries. (A
// worker that is there before its queue is told so by a message that counts.)
type Worker struct {
	// Site is where it runs, "cluster" or "local"; Host the machine's name.
	Site, Host string
	// Prefetch is how many messages it may hold at once; at least 1.
	Prefetch int
	// Work is how long one message takes.
	Work time.Duration
	// Hold has it acknowledge none, nor ask for more than it may hold.
	Hold bool
	// Took is told each message once it is acknowledged, or held.
	Took func(message string, redelivered bool)
	// Connected is told the server's name each time a connection is up.
	Connected func(url string)
	// Lost is told why a connection went.
	Lost func(err error)
}

// Run works until the context ends; what it holds then is finished first, and
// a message that the server sent meanwhile comes back to the queue by itself.
func (w Worker) Run(ctx context.Context, url string) error {
	up := make(chan struct{}, 1)
	connected := func(c *nats.Conn) {
		w.Connected(c.ConnectedUrl())
		select {
		case up <- struct{}{}:
		default:
		}
	}
	conn, err := nats.Connect(url,
		nats.Name(ClientName(w.Site, w.Host)),
		nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(200*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectBufSize(-1), // an acknowledgement that cannot be sent is not one
		nats.ConnectHandler(connected), nats.ReconnectHandler(connected),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { w.Lost(err) }))
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", url, err)
	}
	defer conn.Close()

	inbox := nats.NewInbox()
	messages := make(chan *nats.Msg, w.Prefetch+64)
	sub, err := conn.ChanSubscribe(inbox, messages)
	if err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	pull := func(n int) {
		request := fmt.Sprintf(`{"batch":%d}`, n)
		err := conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+Stream+"."+Consumer, inbox, []byte(request))
		if err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) {
			w.Lost(err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return w.finish(conn, sub, messages)
		case <-up:
			// The server forgets requests with the connection that made them:
			// each new one starts with all of them.
			pull(w.Prefetch)
		case m := <-messages:
			if status := m.Header.Get("Status"); status != "" {
				// Nobody answers while the queue is not there yet.
				w.Lost(fmt.Errorf("the server says %s %s", status, m.Header.Get("Description")))
				time.AfterFunc(500*time.Millisecond, func() { connected(conn) })
				continue
			}
			w.work(m)
			if !w.Hold {
				pull(1)
			}
		}
	}
}

// finish works off what has arrived and lets go of the rest.
func (w Worker) finish(conn *nats.Conn, sub *nats.Subscription, messages <-chan *nats.Msg) error {
	if err := sub.Unsubscribe(); err != nil {
		return fmt.Errorf("unsubscribing: %w", err)
	}
	for {
		select {
		case m := <-messages:
			w.work(m)
		default:
			if err := conn.FlushTimeout(time.Second); err != nil {
				return fmt.Errorf("sending the last acknowledgements: %w", err)
			}
			return nil
		}
	}
}

func (w Worker) work(m *nats.Msg) {
	if w.Work > 0 {
		time.Sleep(w.Work) // the work itself
	}
	meta, err := m.Metadata()
	if err != nil {
		w.Lost(fmt.Errorf("reading a message that is not the queue's: %w", err))
		return
	}
	if !w.Hold {
		if err := m.Ack(); err != nil {
			w.Lost(fmt.Errorf("acknowledging %s: %w", m.Data, err))
			return
		}
	}
	w.Took(string(m.Data), meta.NumDelivered > 1)
}
