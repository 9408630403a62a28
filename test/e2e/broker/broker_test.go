package broker_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/broker"
)

// patience of the brokers here, longer than what is looked at before it is over.
const patience = 5 * time.Second

// crowd is the consumers of one test, and what each has taken.
type crowd struct {
	*testing.T
	broker broker.Broker
	mu     sync.Mutex
	took   map[string]map[string]bool // consumer, message, whether again
}

// work runs a consumer until the returned function is called.
func (c *crowd) work(name string, prefetch int, hold bool) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- c.broker.Consume(ctx, broker.Consumer{
			Name: name, Prefetch: prefetch, Hold: hold,
			Took: func(message string, again bool) {
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.took[name] == nil {
					c.took[name] = map[string]bool{}
				}
				c.took[name][message] = again
			},
			Lost: func(err error) { c.Logf("%s: %v", name, err) },
		})
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					c.Errorf("consumer %s: %v", name, err)
				}
			case <-time.After(10 * time.Second):
				c.Errorf("consumer %s does not end", name)
			}
		})
	}
	c.Cleanup(stop)
	return stop
}

// taken waits until a consumer has taken so many, of which so many again.
func (c *crowd) taken(name string, want, again int) {
	c.Helper()
	within(c.T, 30*time.Second, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		n := 0
		for _, was := range c.took[name] {
			if was {
				n++
			}
		}
		if len(c.took[name]) != want || n != again {
			return fmt.Errorf("%s took %d messages, %d of them again; not %d and %d", name, len(c.took[name]), n, want, again)
		}
		return nil
	})
}

// What one consumer holds is counted as its own, goes to nobody else while it
// lives, and comes to the others as its broker does it when it is gone.
func TestHolding(t *testing.T) {
	const messages = 10
	for _, tc := range []struct {
		kind  string
		start func(*testing.T) broker.Options
		// counts: the broker knows who has a message.
		counts bool
		// back: another consumer gets them when the first is gone; flagged as
		// taken by somebody before.
		back, flagged bool
	}{
		{"rabbitmq", startRabbitMQ, true, true, true},
		{"jetstream", startNATS, true, true, true},
		{"redis-list", startRedis, false, false, false},
		{"redis-move", startRedis, true, true, false},
		{"redis-stream", startRedis, true, true, true},
	} {
		t.Run(tc.kind, func(t *testing.T) {
			t.Parallel()
			options := tc.start(t)
			options.Patience = patience
			b, err := broker.Open(tc.kind, options)
			if err != nil {
				t.Fatal(err)
			}
			c := &crowd{T: t, broker: b, took: map[string]map[string]bool{}}
			served := httptest.NewServer(broker.Handler(b))
			defer served.Close()
			for _, ask := range []string{"/ready", fmt.Sprintf("/publish?first=1&count=%d", messages)} {
				method := map[bool]string{true: http.MethodGet, false: http.MethodPost}[ask == "/ready"]
				req, err := http.NewRequestWithContext(t.Context(), method, served.URL+ask, nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := http.DefaultClient.Do(req)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Fatalf("%s: %+v, %v", ask, res, err)
				}
				res.Body.Close()
			}
			counted(t, b, func(c broker.Counters) error {
				if c.Ready != messages || c.Held != 0 {
					return fmt.Errorf("%d messages are published", messages)
				}
				return nil
			})

			stop := c.work("holder", messages, true)
			counted(t, b, func(c broker.Counters) error {
				if c.Ready != 0 || tc.counts && (c.Held != messages || c.Given["holder"] != messages) {
					return fmt.Errorf("%d messages are held", messages)
				}
				return nil
			})
			c.work("other", 3, false)
			if err := b.Publish(t.Context(), broker.Messages(messages+1, messages)...); err != nil {
				t.Fatal(err)
			}
			c.taken("other", messages, 0)
			if len(c.took["other"]) != messages {
				t.Fatal("what is held went to somebody else")
			}

			stop()
			if !tc.back {
				// Nobody gives them back, and nothing can be waited for: what the
				// broker has is none of them.
				if n, err := b.Counters(t.Context()); err != nil || n.Ready != 0 {
					t.Errorf("the broker counts %+v, error %v", n, err)
				}
				return
			}
			again := 0
			if tc.flagged {
				again = messages
			}
			c.taken("other", 2*messages, again)
			counted(t, b, func(c broker.Counters) error {
				if c.Ready != 0 || c.Held != 0 {
					return fmt.Errorf("the queue is empty")
				}
				return nil
			})
		})
	}
}

func TestUnknown(t *testing.T) {
	if _, err := broker.Open("kafka", broker.Options{}); err == nil || !strings.Contains(err.Error(), "rabbitmq, redis-list") {
		t.Errorf("an unknown broker: %v", err)
	}
}
