package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbitMQ is a queue of RabbitMQ. Its deliveries belong to the connection's
// channel: they are back in the queue when that is gone.
type rabbitMQ struct {
	Options
	mu        sync.Mutex
	publisher *amqp.Connection
}

func openRabbitMQ(o Options) (Broker, error) { return &rabbitMQ{Options: o}, nil }

// dial connects as whoever the name says, with the heartbeat that was asked for.
// The server offers one of 60 s unless it is told otherwise, and the lesser holds.
func (r *rabbitMQ) dial(name string) (*amqp.Connection, error) {
	conn, err := amqp.DialConfig(r.URL, amqp.Config{
		Heartbeat: r.Patience, Properties: amqp.Table{"connection_name": name},
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to RabbitMQ: %w", err)
	}
	return conn, nil
}

// channel declares the queue.
func channel(conn *amqp.Connection) (*amqp.Channel, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("opening a channel: %w", err)
	}
	if _, err := ch.QueueDeclare(queueName, true, false, false, false, nil); err != nil {
		return nil, fmt.Errorf("making queue %s: %w", queueName, err)
	}
	return ch, nil
}

func (r *rabbitMQ) Publish(ctx context.Context, messages ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.publisher == nil || r.publisher.IsClosed() {
		conn, err := r.dial("publisher")
		if err != nil {
			return err
		}
		r.publisher = conn
	}
	ch, err := channel(r.publisher)
	if err != nil {
		return err
	}
	defer ch.Close()
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("asking for confirmations: %w", err)
	}
	var stored []*amqp.DeferredConfirmation
	for _, message := range messages {
		one, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queueName, false, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, Body: []byte(message),
		})
		if err != nil {
			return fmt.Errorf("publishing %s: %w", message, err)
		}
		stored = append(stored, one)
	}
	for i, one := range stored {
		ok, err := one.WaitContext(ctx)
		if err == nil && !ok {
			err = errors.New("it was not stored")
		}
		if err != nil {
			return fmt.Errorf("publishing %s: %w", messages[i], err)
		}
	}
	return nil
}

func (r *rabbitMQ) Consume(ctx context.Context, c Consumer) error {
	for ctx.Err() == nil {
		if err := r.consume(ctx, c); err != nil && ctx.Err() == nil {
			c.Lost(err)
			pause(ctx, again)
		}
	}
	return nil
}

// consume is one connection.
func (r *rabbitMQ) consume(ctx context.Context, c Consumer) error {
	conn, err := r.dial(c.Name)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }() // it may be gone
	ch, err := channel(conn)
	if err != nil {
		return err
	}
	if err := ch.Qos(c.Prefetch, 0, false); err != nil {
		return fmt.Errorf("setting the prefetch: %w", err)
	}
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	deliveries, err := ch.ConsumeWithContext(ctx, queueName, c.Name, false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consuming: %w", err)
	}
	for d := range deliveries {
		if !c.Hold {
			if err := d.Ack(false); err != nil {
				return fmt.Errorf("acknowledging %s: %w", d.Body, err)
			}
		}
		c.Took(string(d.Body), d.Redelivered)
	}
	if ctx.Err() != nil {
		return nil
	}
	if reason := <-closed; reason != nil {
		return fmt.Errorf("the connection to RabbitMQ went: %w", reason)
	}
	return errors.New("the connection to RabbitMQ was closed")
}
