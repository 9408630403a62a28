// Command chaos breaks whole sessions on the real cluster, one fault in one phase
// at a time, and writes the crash matrix from what it has seen.
//
//	chaos [PATTERN]   the faults whose name the pattern matches; none is all
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
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *page {
		err = writePage()
	} else {
		err = play(ctx, flag.Arg(0), time.Now().Add(*bound))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
