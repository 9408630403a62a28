package command

import (
	"os"
	"path/filepath"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
)

// ordinary fails for settings that come from a pipe, as bash's <(...) makes
// one: both processes of exec read them, and a pipe can be read only once.
func ordinary(c *config.Config) error {
	for _, path := range append(filepath.SplitList(os.Getenv("KUBECONFIG")), c.File, c.Kubeconfig) {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice|os.ModeSocket) != 0 {
			return failure.New("write it into a file, and name that", "%s is a pipe or a device, and is read more than once", path)
		}
	}
	return nil
}
