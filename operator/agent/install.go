package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"understudy.dev/understudy/operator/agent/settings"
)

// install copies the running program into dir, executable for everybody, at
// once: whoever looks sees all of it or nothing.
func install(dir string) error {
	if err := copyProgram("/proc/self/exe", filepath.Join(dir, filepath.Base(settings.Binary))); err != nil {
		return fmt.Errorf("installing the agent into %s: %w", dir, err)
	}
	return nil
}

func copyProgram(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	// In the same folder, as there may be no other that can be written to.
	part, err := os.CreateTemp(filepath.Dir(to), ".understudy-agent-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	_, err = io.Copy(part, source)
	if err == nil {
		err = part.Chmod(0o555)
	}
	if err = errors.Join(err, part.Close()); err != nil {
		return err
	}
	return os.Rename(part.Name(), to)
}
