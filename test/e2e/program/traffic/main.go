// Command traffic is both ends of a measured connection.
//
//	traffic serve            answers at :9500, as package traffic has it
//	traffic play SOCKET      measures what the director at the socket asks for
//
// Both end at once by SIGTERM.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"understudy.dev/understudy/test/e2e/traffic"
)

func main() {
	started := time.Now()
	if err := run(started, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(started time.Time, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch {
	case len(args) == 1 && args[0] == "serve":
		l, err := net.Listen("tcp", ":"+strconv.Itoa(traffic.Port))
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { l.Close() })()
		return traffic.Serve(l)
	case len(args) == 2 && args[0] == "play":
		return traffic.Play(ctx, args[1], started)
	}
	fmt.Fprintln(os.Stderr, "usage: traffic serve | traffic play SOCKET")
	os.Exit(2)
	return nil
}
