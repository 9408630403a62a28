package broker

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// list is a Redis list from which messages are popped (BLPOP). What was popped is
// in the consumer's memory and nowhere else, so there is nothing to acknowledge.
type list struct {
	Options
	client *redis.Client
}

func openList(o Options) (Broker, error) {
	client, err := connect(o, "publisher")
	return &list{Options: o, client: client}, err
}

func (l *list) Publish(ctx context.Context, messages ...string) error {
	return push(ctx, l.client, messages)
}

func push(ctx context.Context, client *redis.Client, messages []string) error {
	var values []any
	for _, message := range messages {
		values = append(values, message)
	}
	if len(values) == 0 {
		return client.Ping(ctx).Err()
	}
	if err := client.RPush(ctx, queueName, values...).Err(); err != nil {
		return fmt.Errorf("pushing %d messages: %w", len(messages), err)
	}
	return nil
}

func (l *list) Consume(ctx context.Context, c Consumer) error {
	client, err := connect(l.Options, c.Name)
	if err != nil {
		return err
	}
	held := 0
	return take(ctx, client, c.Lost, func(ctx context.Context) error {
		if c.Hold && held == c.Prefetch {
			<-ctx.Done()
			return nil
		}
		popped, err := client.BLPop(ctx, forever, queueName).Result()
		if err != nil {
			return fmt.Errorf("popping: %w", err)
		}
		held++
		c.Took(popped[1], false)
		return nil
	})
}

// Counters: Redis counts what is in a list, and nothing of who popped.
func (l *list) Counters(ctx context.Context) (Counters, error) {
	n, err := l.client.LLen(ctx, queueName).Result()
	if err != nil {
		return Counters{}, fmt.Errorf("counting the list: %w", err)
	}
	return Counters{Ready: int(n)}, nil
}
