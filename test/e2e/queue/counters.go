package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Monitor reads the counters of one NATS server.
type Monitor struct {
	// Get returns the body that the monitoring port serves at the path for the
	// query.
	Get func(ctx context.Context, path string, query map[string]string) ([]byte, error)
}

// Counters is one reading of the server's own numbers.
type Counters struct {
	// Published is the sequence of the stream's last message: how many were
	// ever published.
	Published uint64
	// Stored messages are those that nobody has acknowledged yet.
	Stored uint64
	// Delivered counts every delivery of the shared consumer, repeated ones too.
	Delivered uint64
	// Acked is how many messages were acknowledged and so left the queue.
	Acked uint64
	// AckFloor is the sequence up to which every message is acknowledged.
	AckFloor uint64
	// InFlight messages are delivered and not acknowledged.
	InFlight uint64
	// Waiting messages have not been delivered yet.
	Waiting uint64
	// Redelivered is how many of those in flight are not there the first time.
	Redelivered uint64
	// Connections of workers, ended ones too, oldest first.
	Connections []Connection
}

// Connection is one connection of a worker as the server counts it.
type Connection struct {
	ID   uint64
	Name string
	// IP that the server sees: a pod's own.
	IP string
	// Delivered is how many messages the server has sent on it. A worker asks
	// the server nothing that is answered by a message, so these are
	// deliveries of the queue and nothing else.
	Delivered uint64
	// Closed connections have ended for the reason given.
	Closed bool
	Reason string
}

// Site is the part of the connection's name that says where the worker runs.
func (c Connection) Site() string {
	parts := strings.SplitN(c.Name, "/", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

// By sums up the deliveries to workers of one site.
func (c Counters) By(site string) uint64 {
	var n uint64
	for _, conn := range c.Connections {
		if conn.Site() == site {
			n += conn.Delivered
		}
	}
	return n
}

// From sums up the deliveries to connections for which the address is wanted.
func (c Counters) From(wanted func(ip string) bool) uint64 {
	var n uint64
	for _, conn := range c.Connections {
		if wanted(conn.IP) {
			n += conn.Delivered
		}
	}
	return n
}

// Balanced is an error when the deliveries of all connections do not add up to
// what the consumer has delivered: then a counter does not mean what this
// package thinks. Only a quiet queue can be asked.
func (c Counters) Balanced() error {
	if all := c.From(func(string) bool { return true }); all != c.Delivered {
		return fmt.Errorf("the server's connections took %d messages, its consumer delivered %d", all, c.Delivered)
	}
	return nil
}

// Read takes one reading. The stream and the connections are asked one after
// the other, so while messages move they may differ by what moved between.
func (m Monitor) Read(ctx context.Context) (Counters, error) {
	var out Counters
	var streams jsz
	if err := m.json(ctx, "/jsz", map[string]string{"streams": "true", "consumers": "true"}, &streams); err != nil {
		return out, err
	}
	stream, consumer, err := streams.find()
	if err != nil {
		return out, err
	}
	out.Published = stream.State.LastSeq
	out.Stored = stream.State.Messages
	out.Acked = out.Published - out.Stored
	out.Delivered = consumer.Delivered.ConsumerSeq
	out.AckFloor = consumer.AckFloor.StreamSeq
	out.InFlight = consumer.NumAckPending
	out.Waiting = consumer.NumPending
	out.Redelivered = consumer.NumRedelivered

	// Open ones first: a connection that ends between the two readings is in
	// both, and counted once, by its ID.
	seen := map[uint64]Connection{}
	for _, state := range []string{"open", "closed"} {
		var conns connz
		if err := m.json(ctx, "/connz", map[string]string{"limit": "10000", "state": state}, &conns); err != nil {
			return out, err
		}
		for _, c := range conns.Connections {
			if strings.HasPrefix(c.Name, "worker/") {
				seen[c.CID] = Connection{ID: c.CID, Name: c.Name, IP: c.IP, Delivered: c.OutMsgs, Closed: state == "closed", Reason: c.Reason}
			}
		}
	}
	for _, c := range seen {
		out.Connections = append(out.Connections, c)
	}
	slices.SortFunc(out.Connections, func(a, b Connection) int { return int(a.ID) - int(b.ID) })
	return out, nil
}

// Settled reads until the queue is empty, nothing is in flight and the
// numbers agree with each other, and returns that reading; at the context's
// end it returns the last reading and why it would not do.
func (m Monitor) Settled(ctx context.Context) (Counters, error) {
	return m.Until(ctx, func(c Counters) error {
		if c.Stored != 0 || c.InFlight != 0 {
			return fmt.Errorf("%d messages are in the queue, %d of them in flight", c.Stored, c.InFlight)
		}
		return c.Balanced()
	})
}

// Until reads until wanted has nothing to object to; at the context's end it returns
// the last reading that was had.
func (m Monitor) Until(ctx context.Context, wanted func(Counters) error) (Counters, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last Counters
	var objection error
	for {
		c, err := m.Read(ctx)
		if err == nil {
			last = c
			if err = wanted(c); err == nil {
				return c, nil
			}
		}
		if objection == nil || ctx.Err() == nil {
			objection = err
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("waiting for the queue: %w (%w)", objection, ctx.Err())
		case <-tick.C:
		}
	}
}

func (m Monitor) json(ctx context.Context, path string, query map[string]string, into any) error {
	body, err := m.Get(ctx, path, query)
	if err != nil {
		return fmt.Errorf("asking the NATS server for %s: %w", path, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading the NATS server's %s: %w", path, err)
	}
	return nil
}
