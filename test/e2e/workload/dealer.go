package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"understudy.dev/understudy/test/e2e/broker"
	"understudy.dev/understudy/test/e2e/cluster"
)

// Dealer is a broker's queue in a namespace: messages go in and counters come out
// through the API server, by a pod that is no part of what is tested.
type Dealer struct {
	cluster   *cluster.Cluster
	namespace string
	next      int
}

// brokers are the kinds of package broker: what they run as, and where.
var brokers = map[string]struct{ manifest, image, url, monitor string }{
	"rabbitmq":     {"rabbitmq", "E2E_RABBITMQ_IMAGE", "amqp://guest:guest@rabbitmq:5672/", "http://rabbitmq:15672"},
	"jetstream":    {"broker", "", "nats://nats:4222", "http://nats:8222"},
	"redis-list":   {"redis", "E2E_REDIS_IMAGE", "redis://redis:6379/0", ""},
	"redis-move":   {"redis", "E2E_REDIS_IMAGE", "redis://redis:6379/0", ""},
	"redis-stream": {"redis", "E2E_REDIS_IMAGE", "redis://redis:6379/0", ""},
}

// HasBroker says why a kind of broker cannot be had here; nil where it can.
func HasBroker(kind string) error {
	if variable := brokers[kind].image; variable != "" && os.Getenv(variable) == "" {
		return fmt.Errorf("%s names no image: it is made of Debian's packages, by a machine with apt", variable)
	}
	return nil
}

// StartBroker starts a broker of a kind and its dealer, and returns once the queue
// is there. Consumers find it by the environment of the config map "broker".
func StartBroker(ctx context.Context, c *cluster.Cluster, namespace, kind string, patience time.Duration) (*Dealer, error) {
	b := brokers[kind]
	if err := HasBroker(kind); err != nil {
		return nil, err
	}
	if err := Apply(ctx, c, namespace, b.manifest, Options{Image: os.Getenv(b.image)}); err != nil {
		return nil, err
	}
	name := map[bool]string{true: "nats", false: b.manifest}[b.manifest == "broker"]
	if err := c.Available(ctx, namespace, name, 1); err != nil {
		return nil, err
	}
	data := map[string]string{"BROKER_KIND": kind, "BROKER_URL": b.url, "BROKER_MONITOR": b.monitor, "BROKER_PATIENCE": patience.String()}
	if err := Apply(ctx, c, namespace, "dealer", Options{Data: data}); err != nil {
		return nil, err
	}
	d := &Dealer{cluster: c, namespace: namespace, next: 1}
	return d, c.Available(ctx, namespace, "dealer", 1)
}

// Publish puts the next n messages into the queue, and answers the number of the
// first.
func (d *Dealer) Publish(ctx context.Context, n int) (first int, err error) {
	pod, err := d.cluster.PodOf(ctx, d.namespace, "dealer")
	if err != nil {
		return 0, err
	}
	first = d.next
	_, err = d.cluster.Post(ctx, d.namespace, pod, 8080, "/publish", map[string]string{"first": strconv.Itoa(first), "count": strconv.Itoa(n)})
	if err != nil {
		return 0, fmt.Errorf("publishing %d messages: %w", n, err)
	}
	d.next += n
	return first, nil
}

// Counters is one reading of the broker's own.
func (d *Dealer) Counters(ctx context.Context) (broker.Counters, error) {
	var c broker.Counters
	pod, err := d.cluster.PodOf(ctx, d.namespace, "dealer")
	if err != nil {
		return c, err
	}
	body, err := d.cluster.Get(ctx, d.namespace, pod, 8080, "/counters", nil)
	if err != nil {
		return c, fmt.Errorf("asking for the counters: %w: %s", err, body)
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, fmt.Errorf("reading the counters: %w", err)
	}
	return c, nil
}
