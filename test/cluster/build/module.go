package build

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Module is a module that a program is built in as its authors build it: as the
// main module, with its own go.mod, go.sum and replacements. A program whose
// replacements do not agree with this module's own can not be had otherwise.
type Module struct {
	Path, Version string
	// Sum is the module's checksum, as a go.sum has it.
	Sum string
	// Files is a pattern of files of the module that are kept beside the program:
	// the resources that it serves. Their names are unique without their folders.
	Files string
	// Vary changes a copy of the module before the build, in what Variant says;
	// nothing where it is nil.
	Variant string
	Vary    func(folder string) error
}

// Files is the folder beside a built program that has its module's files.
func Files(program string) string { return filepath.Join(filepath.Dir(program), "files") }

// fetch has the module in Go's own module cache and returns its folder: the one
// there, which is read-only, or a changed copy in the empty folder given.
func (m Module) fetch(ctx context.Context, empty string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", m.Path+"@"+m.Version)
	cmd.Dir = empty // where no go.mod is in the way
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	said, err := cmd.Output()
	var got struct{ Dir, Sum, Error string }
	if json.Unmarshal(said, &got) == nil && got.Error != "" {
		return "", fmt.Errorf("downloading module %s@%s: %s", m.Path, m.Version, got.Error)
	}
	if err != nil {
		return "", fmt.Errorf("downloading module %s@%s: %w\n%s", m.Path, m.Version, err, stderr.String())
	}
	if got.Sum != m.Sum {
		return "", fmt.Errorf("downloading module %s@%s: its checksum is %s, not %s", m.Path, m.Version, got.Sum, m.Sum)
	}
	if m.Vary == nil {
		return got.Dir, nil
	}
	folder := filepath.Join(empty, "module")
	if err := os.CopyFS(folder, os.DirFS(got.Dir)); err != nil {
		return "", fmt.Errorf("copying module %s: %w", m.Path, err)
	}
	// The copies are as read-only as what they were made of.
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o644)
	})
	if err != nil {
		return "", fmt.Errorf("copying module %s: %w", m.Path, err)
	}
	return folder, m.Vary(folder)
}

// keepFiles copies the module's files to a folder that it makes anew.
func (m Module) keepFiles(module, folder string) error {
	found, err := filepath.Glob(filepath.Join(module, m.Files))
	if err != nil {
		return fmt.Errorf("keeping files of %s: %w", m.Path, err)
	}
	if len(found) == 0 {
		return fmt.Errorf("keeping files of %s: it has none like %s", m.Path, m.Files)
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("keeping files of %s: %w", m.Path, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("keeping files of %s: %w", m.Path, err)
	}
	for _, file := range found {
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("keeping files of %s: %w", m.Path, err)
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), content, 0o644); err != nil {
			return fmt.Errorf("keeping files of %s: %w", m.Path, err)
		}
	}
	return nil
}

// metBy says whether a program that was built in this module is there as a
// whole: its files are kept before it is moved into place.
func (m Module) metBy(path string) bool {
	info, err := buildinfo.ReadFile(path)
	return err == nil && info.Main.Path == m.Path
}
