package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// connect is one client, under a name, that waits for an answer as long as the
// server lets it wait.
func connect(o Options, name string) (*redis.Client, error) {
	options, err := redis.ParseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("reading Redis' address: %w", err)
	}
	options.ClientName, options.MaxRetries = name, -1
	return redis.NewClient(options), nil
}

// take runs one step of a consumer after the other until the context ends. What
// blocks is ended by closing the client.
func take(ctx context.Context, client *redis.Client, lost func(error), step func(context.Context) error) error {
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer func() {
		if stop() {
			client.Close()
		}
	}()
	for ctx.Err() == nil {
		if err := step(ctx); err != nil && ctx.Err() == nil {
			lost(err)
			pause(ctx, again)
		}
	}
	return nil
}

// forever has a command block until there is something.
const forever time.Duration = 0
