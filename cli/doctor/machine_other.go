//go:build !linux

package doctor

import (
	"runtime"

	"understudy.dev/understudy/cli/stage"
)

// Machine looks at this machine.
func Machine() []Finding {
	finding := Finding{Of: "stage", State: Warning, Says: runtime.GOOS + "/" + runtime.GOARCH}
	if err := stage.Check(); err != nil {
		finding.Says += ": " + err.Error()
		finding.Do = "for exec use a Linux virtual machine or WSL; all other commands work here"
	}
	return []Finding{finding}
}
