// Command cluster runs a real Kubernetes of two nodes on one machine.
package main

import (
	"os"

	"understudy.dev/understudy/test/cluster/command"
)

func main() { os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr)) }
