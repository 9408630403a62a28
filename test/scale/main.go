// Command scale measures what many sessions at once cost: the real operator
// and the real controllers on an API server of their own, with pods on nodes that
// only write statuses. It writes its table to the file that -write names.
//
// Nothing of it is a timed test: a goal that is missed is in the table, and only
// what could not be measured is an error.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// size is how big the cluster is.
type size struct {
	namespaces, deployments, pods int
	// lease of the sessions, in seconds.
	lease int
	write string
	// operator is the program.
	operator string
	// helm is the program that renders the chart.
	programs string
	chart    string
}

func main() {
	var s size
	flag.IntVar(&s.namespaces, "namespaces", 50, "namespaces that the workloads are spread over")
	flag.IntVar(&s.deployments, "sessions", 1000, "deployments, and sessions on them")
	flag.IntVar(&s.pods, "pods", 10000, "pods of all of them together")
	flag.IntVar(&s.lease, "lease", 60, "lease of the sessions in seconds")
	flag.StringVar(&s.write, "write", "", "file to write the table to; none prints it only")
	flag.StringVar(&s.operator, "operator", "bin/understudy-operator", "the operator")
	flag.StringVar(&s.programs, "programs", "", "folder of etcd, kube-apiserver, kube-controller-manager and helm (default: the test cluster's)")
	flag.StringVar(&s.chart, "chart", "charts/understudy", "the chart")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
