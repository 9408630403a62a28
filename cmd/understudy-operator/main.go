// Command understudy-operator is the part of Understudy that runs in a cluster.
package main

import (
	"os"

	"sigs.k8s.io/controller-runtime/pkg/manager/signals"

	"understudy.dev/understudy/operator/manager"
)

func main() {
	os.Exit(manager.Run(signals.SetupSignalHandler(), os.Args[1:], os.Getenv, os.Stderr))
}
