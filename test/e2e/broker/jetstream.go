package broker

import (
	"context"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"understudy.dev/understudy/test/e2e/queue"
)

// jetStream is the work queue of package queue, whose consumer gives a message to
// somebody else when it was not acknowledged for ack_wait.
type jetStream struct {
	Options
	mu sync.Mutex
	js jetstream.JetStream
}

func openJetStream(o Options) (Broker, error) { return &jetStream{Options: o}, nil }

func (j *jetStream) Publish(ctx context.Context, messages ...string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.js == nil {
		conn, err := nats.Connect(j.URL, nats.Name("publisher"), nats.MaxReconnects(-1))
		if err != nil {
			return fmt.Errorf("connecting to NATS: %w", err)
		}
		if _, err := queue.NewPublisher(ctx, conn, j.Patience); err != nil {
			conn.Close()
			return err
		}
		if j.js, err = jetstream.New(conn); err != nil {
			return fmt.Errorf("opening JetStream: %w", err)
		}
	}
	for _, message := range messages {
		if _, err := j.js.Publish(ctx, queue.Subject, []byte(message)); err != nil {
			return fmt.Errorf("publishing %s: %w", message, err)
		}
	}
	return nil
}

func (j *jetStream) Consume(ctx context.Context, c Consumer) error {
	return queue.Worker{
		Site: "broker", Host: c.Name, Prefetch: c.Prefetch, Hold: c.Hold, Took: c.Took, Lost: c.Lost, Connected: func(string) {},
	}.Run(ctx, j.URL)
}

func (j *jetStream) Counters(ctx context.Context) (Counters, error) {
	c := Counters{Given: map[string]int{}}
	read, err := queue.AtURL(j.Monitor).Read(ctx)
	if err != nil {
		return c, err
	}
	c.Ready, c.Held, c.Delivered = int(read.Waiting), int(read.InFlight), int(read.Delivered)
	for _, conn := range read.Connections {
		c.Given[conn.Name[len(queue.ClientName("broker", "")):]] += int(conn.Delivered)
	}
	return c, nil
}
