// Command understudy runs a local process in the place of a workload in a
// Kubernetes cluster.
package main

import (
	"os"

	"understudy.dev/understudy/cli/command"
	"understudy.dev/understudy/cli/stage"
)

func main() {
	stage.Main()
	os.Exit(command.Main(os.Args[1:]))
}
