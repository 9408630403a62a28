package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Publisher makes the queue and puts messages into it. Each message has an ID
// that the server knows it by, so that one that is sent again after a lost
// answer is stored once.
type Publisher struct {
	js   jetstream.JetStream
	mu   sync.Mutex
	next uint64
	run  string
}

// NewPublisher makes stream and consumer where they are not there yet.
func NewPublisher(ctx context.Context, conn *nats.Conn, ackWait time.Duration) (*Publisher, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("opening JetStream: %w", err)
	}
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: Stream, Subjects: []string{Subject}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return nil, fmt.Errorf("making stream %s: %w", Stream, err)
	}
	_, err = stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: Consumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 100_000,
	})
	if err != nil {
		return nil, fmt.Errorf("making consumer %s: %w", Consumer, err)
	}
	return &Publisher{js: js, next: stream.CachedInfo().State.LastSeq, run: nats.NewInbox()}, nil
}

// Publish puts n messages into the queue and returns when the server has
// stored them all. With a pause it waits that long after each.
func (p *Publisher) Publish(ctx context.Context, n int, pause time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range n {
		p.next++
		message := fmt.Sprintf("order-%06d", p.next)
		for {
			_, err := p.js.Publish(ctx, Subject, []byte(message), jetstream.WithMsgID(p.run+message))
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("publishing %s: %w", message, err)
			}
		}
		if pause > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
		}
	}
	return nil
}
