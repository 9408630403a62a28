// Command chaos breaks whole sessions on the real cluster, one fault in one phase
// at a time, and writes the crash matrix from what it has seen.
//
//	chaos [PATTERN]   the faults whose name the pattern matches; none is all
//	chaos -rest       those of which nothing was seen yet
//	chaos -random 300 sessions side by side, whose fault, phase and moment are drawn
//	chaos -writes     sessions in which the operator is killed at one of its writes
//	chaos -page       writes the page from what was seen before
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	page := flag.Bool("page", false, "only write the page")
	bound := flag.Duration("for", 9*time.Minute, "begin no case after that; those that are left are on the page as not run")
	rest := flag.Bool("rest", false, "play only what has not been seen yet")
	random := flag.Int("random", 0, "play that many sessions at random")
	seed := flag.Uint64("seed", 0, "seed of the random sessions; 0 is a new one")
	writes := flag.Bool("writes", false, "kill the operator at each of its writes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	until := time.Now().Add(*bound)
	switch {
	case *page:
		err = writePage()
	case *random > 0:
		err = playAtRandom(ctx, flag.Arg(0), *seed, *random, until)
	case *writes:
		err = playWrites(ctx, *rest, until)
	default:
		err = play(ctx, flag.Arg(0), *rest, until)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
