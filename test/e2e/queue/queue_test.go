package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"understudy.dev/understudy/test/e2e/queue"
)

// start runs a real NATS server on loopback and returns its address, its
// monitor and a publisher.
func start(t *testing.T, ackWait time.Duration) (string, queue.Monitor, *queue.Publisher) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, HTTPHost: "127.0.0.1", HTTPPort: server.RANDOM_PORT,
		JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server did not start")
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	publisher, err := queue.NewPublisher(t.Context(), conn, ackWait)
	if err != nil {
		t.Fatal(err)
	}
	return s.ClientURL(), queue.AtURL("http://" + s.MonitorAddr().String()), publisher
}

// work runs a worker until the returned function is called.
func work(t *testing.T, url string, w queue.Worker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	w.Connected, w.Lost = func(string) {}, func(err error) { t.Logf("%s: %v", w.Host, err) }
	if w.Took == nil {
		w.Took = func(string, bool) {}
	}
	go func() { done <- w.Run(ctx, url) }()
	stop = func() {
		if ctx.Err() == nil {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("worker %s: %v", w.Host, err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

func settled(t *testing.T, m queue.Monitor) queue.Counters {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := m.Settled(ctx)
	if err != nil {
		t.Fatalf("%v\n%+v", err, c)
	}
	return c
}

// gone waits until the server has seen that a connection is over. What it sends
// into one that nobody reads any more is delivered by the consumer's count, and
// never by the connection's.
func gone(t *testing.T, m queue.Monitor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := m.Until(ctx, func(c queue.Counters) error {
		if !slices.ContainsFunc(c.Connections, func(conn queue.Connection) bool { return conn.Closed }) {
			return errors.New("no connection has ended")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%+v", err, c)
	}
}

// Deliveries are told apart by site, and those of ended connections count.
func TestCountersTellSitesApart(t *testing.T) {
	url, monitor, publisher := start(t, queue.AckWait)
	stop := work(t, url, queue.Worker{Site: "cluster", Host: "a", Prefetch: 3})
	if err := publisher.Publish(t.Context(), 100, 0); err != nil {
		t.Fatal(err)
	}
	if c := settled(t, monitor); c.By("cluster") != 100 || c.By("local") != 0 {
		t.Fatalf("100 messages were for the cluster: %+v", c)
	}
	stop()
	work(t, url, queue.Worker{Site: "local", Host: "b", Prefetch: 1})
	if err := publisher.Publish(t.Context(), 50, 0); err != nil {
		t.Fatal(err)
	}
	c := settled(t, monitor)
	if c.By("cluster") != 100 || c.By("local") != 50 || c.Published != 150 || c.Acked != 150 || c.AckFloor != 150 {
		t.Errorf("100 messages were for the cluster and 50 for the local worker: %+v", c)
	}
	if len(c.Connections) != 2 || !c.Connections[0].Closed || c.Connections[1].Closed {
		t.Errorf("one connection has ended and one is open: %+v", c.Connections)
	}
	if n := c.From(func(ip string) bool { return ip == "127.0.0.1" }); n != 150 {
		t.Errorf("all came from 127.0.0.1, the server counts %d", n)
	}
}

// A message that a worker took and never acknowledged is in flight, and comes
// back to another after the server's wait: delivered twice, lost never.
func TestInFlightComesBack(t *testing.T) {
	const ackWait = 500 * time.Millisecond
	url, monitor, publisher := start(t, ackWait)
	conn, err := nats.Connect(url, nats.Name(queue.ClientName("cluster", "stuck")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	held, err := conn.SubscribeSync("stuck")
	if err != nil {
		t.Fatal(err)
	}
	request := fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", queue.Stream, queue.Consumer)
	if err := conn.PublishRequest(request, "stuck", []byte(`{"batch":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := publisher.Publish(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := held.NextMsg(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	c, err := monitor.Read(t.Context())
	if err != nil || c.InFlight != 1 {
		t.Fatalf("one message is in flight: %+v, %v", c, err)
	}
	took := make(chan bool, 1)
	work(t, url, queue.Worker{Site: "local", Host: "b", Prefetch: 1, Took: func(_ string, again bool) { took <- again }})
	select {
	case again := <-took:
		if !again {
			t.Error("the message came for the first time")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the message did not come back")
	}
	if c := settled(t, monitor); c.Published != 1 || c.Delivered != 2 || c.By("cluster") != 1 || c.By("local") != 1 {
		t.Errorf("published once, delivered twice: %+v", c)
	}
}

// A worker that lost its connection asks again on the next one.
func TestWorkerGoesOnAfterReconnect(t *testing.T) {
	url, monitor, publisher := start(t, queue.AckWait)
	connected := 0
	lost := make(chan struct{}, 8)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	proxy := newCuttable(t, url)
	w := queue.Worker{Site: "local", Host: "b", Prefetch: 2, Took: func(string, bool) {},
		Connected: func(string) { connected++ }, Lost: func(error) { lost <- struct{}{} }}
	go func() { done <- w.Run(ctx, proxy.url) }()
	if err := publisher.Publish(ctx, 10, 0); err != nil {
		t.Fatal(err)
	}
	settled(t, monitor)
	proxy.cut()
	<-lost
	gone(t, monitor)
	if err := publisher.Publish(ctx, 10, 0); err != nil {
		t.Fatal(err)
	}
	if c := settled(t, monitor); c.By("local") != 20 || len(c.Connections) < 2 {
		t.Errorf("20 messages on two connections: %+v", c)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if connected < 2 {
		t.Errorf("connected %d times", connected)
	}
}
