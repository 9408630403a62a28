// Command bench measures what using Understudy costs, beside what the same
// costs without it: each figure has a floor that was taken in the same run, on
// the same cluster, of the same workload. It prints one table.
//
//	bench                every part
//	bench changing       taking the workload's place, and giving it back
//	bench freezing       freezing a pod, and thawing it
//	bench connections    what the local process sees of its connections
//
// A goal that is missed is not an error; what could not be measured is.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// bound is how long all of it may take.
const bound = 12 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("all of it may take %s", bound))
	defer cancel()
	if err := measure(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
