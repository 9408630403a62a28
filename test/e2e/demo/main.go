// Command demo shows the main job on a real cluster: a queue that three workers
// in the cluster read from, and a process on this machine that takes their
// place. What it prints are the broker's own counters, and it fails if one of
// them is not as promised.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := play(ctx, newScreen(os.Stdout)); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
