// Command worker takes orders from the queue, works on each, acknowledges it
// and says so on its standard output. It is what a team would run in the
// cluster, and what a developer runs in its place.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"understudy.dev/understudy/test/e2e/queue"
)

func main() {
	var w queue.Worker
	site := os.Getenv("WORKER_SITE")
	if site == "" {
		site = "local"
	}
	flag.StringVar(&w.Site, "site", site, "where this worker runs, part of its connection's name")
	flag.IntVar(&w.Prefetch, "prefetch", 1, "messages it may hold at once")
	flag.DurationVar(&w.Work, "work", 0, "how long one message takes")
	url := flag.String("url", os.Getenv("NATS_URL"), "the queue's server; default from NATS_URL")
	deaf := flag.Bool("ignore-sigterm", false, "go on after SIGTERM, as some workers do")
	count := flag.Int("count", 0, "end with exit code 0 after so many messages; 0 is never")
	flag.Parse()

	w.Host, _ = os.Hostname()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if *deaf {
		signal.Ignore(syscall.SIGTERM)
	} else {
		ctx, cancel = signal.NotifyContext(ctx, syscall.SIGTERM)
		defer cancel()
	}
	taken := 0
	w.Took = func(message string, redelivered bool) {
		again := ""
		if redelivered {
			again = " (again)"
		}
		fmt.Printf("%s took %s at %s%s\n", time.Now().UTC().Format("15:04:05.000"), message, w.Host, again)
		if taken++; taken == *count {
			cancel()
		}
	}
	w.Connected = func(url string) { fmt.Printf("worker %s at %s: connected to %s\n", w.Site, w.Host, url) }
	w.Lost = func(err error) { fmt.Fprintf(os.Stderr, "worker %s at %s: %v\n", w.Site, w.Host, err) }
	if err := w.Run(ctx, *url); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
