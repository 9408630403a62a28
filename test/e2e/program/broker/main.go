// Command broker is what tests of several brokers run in the cluster and beside
// it: "broker serve" puts messages into a queue and reads its counters for whoever
// asks over HTTP, "broker consume" takes messages, and with --hold keeps them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"understudy.dev/understudy/test/e2e/broker"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("broker serve, or broker consume")
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	var o broker.Options
	c := broker.Consumer{Took: took, Lost: func(err error) { fmt.Fprintln(os.Stderr, "broker:", err) }}
	kind := flags.String("kind", os.Getenv("BROKER_KIND"), "the broker's kind")
	flags.StringVar(&o.URL, "url", os.Getenv("BROKER_URL"), "where clients connect")
	flags.StringVar(&o.Monitor, "monitor", os.Getenv("BROKER_MONITOR"), "the broker's own monitoring port")
	flags.DurationVar(&o.Patience, "patience", 0, "how long somebody may be silent; default from BROKER_PATIENCE")
	listen := flags.String("listen", ":8080", "address to serve at")
	flags.StringVar(&c.Name, "name", "local", "the consumer's name")
	flags.IntVar(&c.Prefetch, "prefetch", 20, "messages it may have unacknowledged")
	flags.BoolVar(&c.Hold, "hold", false, "acknowledge none")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if o.Patience == 0 {
		var err error
		if o.Patience, err = time.ParseDuration(os.Getenv("BROKER_PATIENCE")); err != nil {
			return fmt.Errorf("reading BROKER_PATIENCE: %w", err)
		}
	}
	b, err := broker.Open(*kind, o)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch args[0] {
	case "serve":
		server := &http.Server{Addr: *listen, Handler: broker.Handler(b)}
		context.AfterFunc(ctx, func() { server.Close() })
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	case "consume":
		fmt.Printf("%s consumes from %s\n", c.Name, *kind)
		return b.Consume(ctx, c)
	}
	return fmt.Errorf("there is no broker %s", args[0])
}

// took says when a message came, to be read by whoever measures.
func took(message string, again bool) {
	word := ""
	if again {
		word = " again"
	}
	fmt.Printf("%s took %s%s\n", time.Now().UTC().Format(time.RFC3339Nano), message, word)
}
