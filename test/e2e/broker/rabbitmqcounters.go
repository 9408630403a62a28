package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// What is read of the management plugin's answers.
type (
	managedQueue struct {
		Ready int `json:"messages_ready"`
		Held  int `json:"messages_unacknowledged"`
		Stats struct {
			Delivered int `json:"deliver"`
		} `json:"message_stats"`
	}
	managedConnection struct {
		Name       string `json:"name"`
		Properties struct {
			Name string `json:"connection_name"`
		} `json:"client_properties"`
	}
	managedChannel struct {
		Connection struct {
			Name string `json:"name"`
		} `json:"connection_details"`
		Stats struct {
			Delivered int `json:"deliver"`
		} `json:"message_stats"`
	}
)

// Counters asks the management plugin, whose numbers are those of the last half
// second where the server is told to collect them so often.
func (r *rabbitMQ) Counters(ctx context.Context) (Counters, error) {
	c := Counters{Given: map[string]int{}}
	var queue managedQueue
	if err := r.ask(ctx, "/api/queues/%2F/"+queueName, &queue); err != nil {
		return c, err
	}
	c.Ready, c.Held, c.Delivered = queue.Ready, queue.Held, queue.Stats.Delivered
	var connections []managedConnection
	if err := r.ask(ctx, "/api/connections", &connections); err != nil {
		return c, err
	}
	names := map[string]string{}
	for _, one := range connections {
		names[one.Name] = one.Properties.Name
	}
	var channels []managedChannel
	if err := r.ask(ctx, "/api/channels", &channels); err != nil {
		return c, err
	}
	for _, one := range channels {
		if name := names[one.Connection.Name]; name != "" {
			c.Given[name] += one.Stats.Delivered
		}
	}
	return c, nil
}

func (r *rabbitMQ) ask(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Monitor+path, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth("guest", "guest")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking RabbitMQ for %s: %w", path, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("asking RabbitMQ for %s: the answer was %s", path, res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("reading RabbitMQ's %s: %w", path, err)
	}
	return nil
}
