package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// moving is a Redis list from which messages are moved (BLMOVE) to one of the
// consumer's own, and removed there when they are done. Redis gives back none of
// them: the consumers do it, for one that has not said for Options.Patience that
// it lives.
type moving struct{ list }

const (
	// heldBy and aliveOf, with a consumer's name, are its list and its sign of
	// life, which expires by itself.
	heldBy  = queueName + ":held:"
	aliveOf = queueName + ":alive:"
)

func openMoving(o Options) (Broker, error) {
	client, err := connect(o, "publisher")
	return &moving{list{Options: o, client: client}}, err
}

func (m *moving) Consume(ctx context.Context, c Consumer) error {
	client, err := connect(m.Options, c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go m.care(ctx, c)
	own, held := heldBy+c.Name, 0
	return take(ctx, client, c.Lost, func(ctx context.Context) error {
		if c.Hold && held == c.Prefetch {
			<-ctx.Done()
			return nil
		}
		message, err := client.BLMove(ctx, queueName, own, "LEFT", "RIGHT", forever).Result()
		if err != nil {
			return fmt.Errorf("moving: %w", err)
		}
		if c.Hold {
			held++
		} else if err := client.LRem(ctx, own, 1, message).Err(); err != nil {
			return fmt.Errorf("removing %s: %w", message, err)
		}
		c.Took(message, false)
		return nil
	})
}

// care says that a consumer lives, and gives back what the dead ones held.
func (m *moving) care(ctx context.Context, c Consumer) {
	client, err := connect(m.Options, c.Name+"/care")
	if err != nil {
		c.Lost(err)
		return
	}
	defer client.Close()
	for ctx.Err() == nil {
		if err := m.revive(ctx, client, c.Name); err != nil && ctx.Err() == nil {
			c.Lost(err)
		}
		pause(ctx, min(m.Patience/10, time.Second))
	}
}

func (m *moving) revive(ctx context.Context, client *redis.Client, name string) error {
	if err := client.Set(ctx, aliveOf+name, "yes", m.Patience).Err(); err != nil {
		return fmt.Errorf("saying that %s lives: %w", name, err)
	}
	lists, err := client.Keys(ctx, heldBy+"*").Result()
	if err != nil {
		return fmt.Errorf("looking for what others hold: %w", err)
	}
	for _, list := range lists {
		alive, err := client.Exists(ctx, aliveOf+strings.TrimPrefix(list, heldBy)).Result()
		if err != nil {
			return fmt.Errorf("asking whether the owner of %s lives: %w", list, err)
		}
		// In their old order, to where they are taken from.
		for alive == 0 && err == nil {
			err = client.LMove(ctx, list, queueName, "RIGHT", "LEFT").Err()
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("giving back %s: %w", list, err)
		}
	}
	return nil
}

// Counters: how long the lists are.
func (m *moving) Counters(ctx context.Context) (Counters, error) {
	c, err := m.list.Counters(ctx)
	if err != nil {
		return c, err
	}
	c.Given = map[string]int{}
	lists, err := m.client.Keys(ctx, heldBy+"*").Result()
	if err != nil {
		return c, fmt.Errorf("looking for lists: %w", err)
	}
	slices.Sort(lists)
	for _, list := range lists {
		n, err := m.client.LLen(ctx, list).Result()
		if err != nil {
			return c, fmt.Errorf("counting %s: %w", list, err)
		}
		c.Held += int(n)
		c.Given[strings.TrimPrefix(list, heldBy)] = int(n)
	}
	return c, nil
}
