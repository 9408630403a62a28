// Package broker is work queues of several makers, seen alike: messages are put
// in, consumers take them and may keep them unacknowledged, and the broker's own
// counters are read. It is how the tests and docs/brokers.md know what a broker
// does with the messages of a consumer that was frozen.
//
// The queue of package queue, where deliveries are counted to the last one, is
// JetStream's alone; its parts are used here.
package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Broker is one queue of one broker.
type Broker interface {
	// Publish makes the queue where it is not there yet, and returns when the
	// broker has stored the messages.
	Publish(ctx context.Context, messages ...string) error
	// Consume takes messages until the context ends, and connects again
	// whenever its connection has gone.
	Consume(ctx context.Context, c Consumer) error
	// Counters reads the broker's own.
	Counters(ctx context.Context) (Counters, error)
}

// Consumer is one of those that share the queue.
type Consumer struct {
	// Name that the broker knows it by.
	Name string
	// Prefetch is how many messages it may have unacknowledged.
	Prefetch int
	// Hold has it acknowledge none.
	Hold bool
	// Took is told of each message that has come; again where the broker says
	// that somebody had it before.
	Took func(message string, again bool)
	// Lost is told why a connection went.
	Lost func(err error)
}

// Counters is one reading of a broker's own numbers.
type Counters struct {
	// Ready messages are in the queue, and nobody's.
	Ready int
	// Held messages are somebody's and not acknowledged, if the broker counts
	// them.
	Held int
	// Delivered counts all deliveries, repeated ones too, if the broker counts
	// them.
	Delivered int
	// Given is by consumer what the broker has given to it: where it counts
	// deliveries all of them (RabbitMQ: on channels that are open), else what the
	// consumer has not acknowledged.
	Given map[string]int
}

// Options are where a broker is and how patient it is.
type Options struct {
	// URL that clients connect to.
	URL string
	// Monitor is the base URL of the broker's own monitoring port, where it has
	// one.
	Monitor string
	// Patience is how long the broker, or whoever does it in its place, waits
	// for somebody who is silent: RabbitMQ's heartbeat, of which two are
	// missed; JetStream's ack_wait; how long Redis' entries are idle before
	// another consumer claims them.
	Patience time.Duration
}

// kinds are the brokers, by name.
var kinds = map[string]func(Options) (Broker, error){
	"rabbitmq":     openRabbitMQ,
	"jetstream":    openJetStream,
	"redis-list":   openList,
	"redis-move":   openMoving,
	"redis-stream": openStream,
}

// Open is a broker of a kind: rabbitmq, jetstream, redis-list (a message is
// popped, and then nobody's but the process's), redis-move (it is moved to a
// list of the consumer's own) or redis-stream.
func Open(kind string, o Options) (Broker, error) {
	open, known := kinds[kind]
	if !known {
		var names []string
		for name := range kinds {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, fmt.Errorf("there is no broker %q; there are %s", kind, strings.Join(names, ", "))
	}
	return open(o)
}

// queueName is the queue of all kinds.
const queueName = "orders"

// again is how long a consumer waits before it connects anew.
const again = 200 * time.Millisecond

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Until reads until wanted has nothing to object to.
func Until(ctx context.Context, read func(context.Context) (Counters, error), wanted func(Counters) error) (Counters, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := read(ctx)
		if err == nil {
			if err = wanted(c); err == nil {
				return c, nil
			}
		}
		select {
		case <-ctx.Done():
			return c, fmt.Errorf("waiting for the broker: %w (%w); it counts %+v", err, context.Cause(ctx), c)
		case <-tick.C:
		}
	}
}
