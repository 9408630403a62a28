//go:build !linux

package command

import (
	"runtime"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/stage"
)

// supported says whether exec works on this operating system.
func supported() error {
	return &failure.Failure{
		Err:  stage.ErrUnsupported,
		Hint: "on " + runtime.GOOS + " understudy works inside a Linux virtual machine or WSL; here all commands but exec work",
	}
}

// interruptPlugins has nothing to do: the terminal reaches them.
func interruptPlugins() {}
