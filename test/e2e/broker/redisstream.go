package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// stream is a Redis stream with a consumer group. An entry that was read is
// pending for its consumer until that acknowledges it, or another claims it
// (XAUTOCLAIM) that nobody has touched for Options.Patience. Redis does nothing of
// this by itself: the consumers ask for it.
type stream struct {
	Options
	client *redis.Client
}

const (
	group   = "workers"
	payload = "message"
)

func openStream(o Options) (Broker, error) {
	client, err := connect(o, "publisher")
	return &stream{Options: o, client: client}, err
}

// make makes stream and group where they are not there yet.
func (s *stream) make(ctx context.Context, client *redis.Client) error {
	err := client.XGroupCreateMkStream(ctx, queueName, group, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return fmt.Errorf("making group %s: %w", group, err)
	}
	return nil
}

func (s *stream) Publish(ctx context.Context, messages ...string) error {
	if err := s.make(ctx, s.client); err != nil {
		return err
	}
	for _, message := range messages {
		if err := s.client.XAdd(ctx, &redis.XAddArgs{Stream: queueName, Values: []any{payload, message}}).Err(); err != nil {
			return fmt.Errorf("adding %s: %w", message, err)
		}
	}
	return nil
}

func (s *stream) Consume(ctx context.Context, c Consumer) error {
	client, err := connect(s.Options, c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !c.Hold {
		go s.claim(ctx, c)
	}
	held := 0
	return take(ctx, client, c.Lost, func(ctx context.Context) error {
		want := c.Prefetch - held
		if want == 0 {
			<-ctx.Done()
			return nil
		}
		read, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: c.Name, Streams: []string{queueName, ">"}, Count: int64(want), Block: forever,
		}).Result()
		if err != nil {
			if making := s.make(ctx, client); making != nil {
				err = making
			}
			return fmt.Errorf("reading: %w", err)
		}
		for _, of := range read {
			if c.Hold {
				held += len(of.Messages)
			}
			if err := s.done(ctx, client, c, of.Messages, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// done acknowledges messages, unless they are held.
func (s *stream) done(ctx context.Context, client *redis.Client, c Consumer, messages []redis.XMessage, again bool) error {
	for _, m := range messages {
		if !c.Hold {
			if err := client.XAck(ctx, queueName, group, m.ID).Err(); err != nil {
				return fmt.Errorf("acknowledging %s: %w", m.ID, err)
			}
		}
		c.Took(fmt.Sprint(m.Values[payload]), again)
	}
	return nil
}

// claim takes over what others have left lying.
func (s *stream) claim(ctx context.Context, c Consumer) {
	client, err := connect(s.Options, c.Name+"/claim")
	if err != nil {
		c.Lost(err)
		return
	}
	defer client.Close()
	for ; ctx.Err() == nil; pause(ctx, again) {
		messages, _, err := client.XAutoClaim(ctx, &redis.XAutoClaimArgs{
			Stream: queueName, Group: group, Consumer: c.Name, MinIdle: s.Patience, Start: "0", Count: 1000,
		}).Result()
		if err == nil {
			err = s.done(ctx, client, c, messages, true)
		}
		if err != nil && !errors.Is(err, redis.Nil) && ctx.Err() == nil {
			c.Lost(fmt.Errorf("claiming: %w", err))
		}
	}
}

// Counters: XINFO's of the group and its consumers.
func (s *stream) Counters(ctx context.Context) (Counters, error) {
	c := Counters{Given: map[string]int{}}
	groups, err := s.client.XInfoGroups(ctx, queueName).Result()
	if err != nil {
		return c, fmt.Errorf("asking for the group: %w", err)
	}
	for _, one := range groups {
		if one.Name == group {
			c.Ready, c.Held, c.Delivered = int(one.Lag), int(one.Pending), int(one.EntriesRead)
		}
	}
	consumers, err := s.client.XInfoConsumers(ctx, queueName, group).Result()
	if err != nil {
		return c, fmt.Errorf("asking for the consumers: %w", err)
	}
	for _, one := range consumers {
		c.Given[one.Name] = int(one.Pending)
	}
	return c, nil
}
