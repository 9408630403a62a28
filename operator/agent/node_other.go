//go:build !linux

package agent

import (
	"fmt"
	"io"
)

// runNode: only Linux can freeze.
func runNode(command string, _ []string, stderr io.Writer) int {
	fmt.Fprintf(stderr, "error: %s works on Linux alone\n", command)
	return exitFailed
}
