package agent

import (
	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze/guard"
	"understudy.dev/understudy/operator/freeze/record"
)

// cleanups take away what a frozen session leaves in its pod's network namespace.
var cleanups = []record.Cleanup{fence.Remove}

// runGuard is this program as the guard of another of it.
func runGuard() int { return guard.Main(cleanups...) }
