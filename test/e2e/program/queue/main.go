// Command queue prints the NATS server's own counters of the work queue.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"understudy.dev/understudy/test/e2e/queue"
)

func main() {
	monitor := flag.String("monitor", fmt.Sprintf("http://127.0.0.1:%d", queue.MonitorPort), "the server's monitoring port")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	counters, err := queue.AtURL(*monitor).Read(ctx)
	if err == nil {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		err = out.Encode(counters)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
