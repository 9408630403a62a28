// Command producer makes the queue and serves it to whoever has messages to
// publish: POST /publish?count=N stores N messages and answers when the broker
// has acknowledged them all, with pause=DURATION one after the other; /ready
// answers once the queue is there.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"understudy.dev/understudy/test/e2e/queue"
)

func main() {
	url := flag.String("url", os.Getenv("NATS_URL"), "the queue's server; default from NATS_URL")
	listen := flag.String("listen", ":8080", "address to serve at")
	ackWait := flag.Duration("ack-wait", queue.AckWait, "how long the server waits for an acknowledgement")
	flag.Parse()
	if err := serve(*url, *listen, *ackWait); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func serve(url, listen string, ackWait time.Duration) error {
	up := make(chan struct{})
	conn, err := nats.Connect(url, nats.Name("producer"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(200*time.Millisecond), nats.ConnectHandler(func(*nats.Conn) { close(up) }))
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", url, err)
	}
	<-up // the broker may start after its producer
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	publisher, err := queue.NewPublisher(ctx, conn, ackWait)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the queue is there") })
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		count, err := strconv.Atoi(r.FormValue("count"))
		if err != nil {
			http.Error(w, "count: "+err.Error(), http.StatusBadRequest)
			return
		}
		var pause time.Duration
		if s := r.FormValue("pause"); s != "" {
			if pause, err = time.ParseDuration(s); err != nil {
				http.Error(w, "pause: "+err.Error(), http.StatusBadRequest)
				return
			}
		}
		if err := publisher.Publish(r.Context(), count, pause); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "published %d\n", count)
	})
	return http.ListenAndServe(listen, mux)
}
