// Package image makes container images of a few static programs, or of a folder
// that is to be the root, without a container engine and without a registry: an
// archive that containerd imports.
package image

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Spec says what is in an image.
type Spec struct {
	// Name is its full name with a tag, understudy.dev/agent:dev.
	Name string
	// Root is a folder outside whose files, folders and links the image begins
	// with; empty for none.
	Root string
	// Files maps absolute paths in the image to files outside. Permissions are
	// taken over, so that a program stays one; the owner is root.
	Files map[string]string
	// Folders are absolute paths of folders that anybody may write to, as /tmp.
	Folders []string
	// Entrypoint and Command are as in a Dockerfile; without an entrypoint the
	// image serves as an image volume only.
	Entrypoint, Command []string
	// User is UID or UID:GID, 65532 where it is empty.
	User string
	// Env is NAME=value.
	Env []string
	// WorkingDir is /, where it is empty.
	WorkingDir string
	Labels     map[string]string
}

// defaultUser is the unprivileged user of distroless images.
const defaultUser = "65532"

// Write makes the image as a docker-archive at file. The same input gives the
// same bytes: nothing in it depends on when or where it was made.
func Write(spec Spec, file string) error {
	tag, err := parse(spec.Name)
	if err != nil {
		return fmt.Errorf("making image: %w", err)
	}
	made, err := build(spec)
	if err != nil {
		return fmt.Errorf("making image %s: %w", spec.Name, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("making image %s: %w", spec.Name, err)
	}
	scratch, err := os.CreateTemp(filepath.Dir(file), ".image-")
	if err != nil {
		return fmt.Errorf("making image %s: %w", spec.Name, err)
	}
	defer os.Remove(scratch.Name())
	if err := tarball.Write(tag, made, scratch); err != nil {
		return fmt.Errorf("writing image %s: %w", spec.Name, err)
	}
	if err := scratch.Chmod(0o644); err != nil {
		return fmt.Errorf("writing image %s: %w", spec.Name, err)
	}
	if err := scratch.Close(); err != nil {
		return fmt.Errorf("writing image %s: %w", spec.Name, err)
	}
	if err := os.Rename(scratch.Name(), file); err != nil {
		return fmt.Errorf("writing image %s: %w", spec.Name, err)
	}
	return nil
}

// Name is the full name of the one image of an archive.
func Name(archive string) (string, error) {
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(archive) })
	if err != nil {
		return "", fmt.Errorf("reading image archive %s: %w", archive, err)
	}
	if len(manifest) != 1 || len(manifest[0].RepoTags) != 1 {
		return "", fmt.Errorf("reading image archive %s: it does not have exactly one name", archive)
	}
	return manifest[0].RepoTags[0], nil
}

func build(spec Spec) (v1.Image, error) {
	content, err := layer(spec)
	if err != nil {
		return nil, err
	}
	files, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	})
	if err != nil {
		return nil, err
	}
	made, err := mutate.AppendLayers(empty.Image, files)
	if err != nil {
		return nil, err
	}
	file, err := made.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{
		Entrypoint: spec.Entrypoint,
		Cmd:        spec.Command,
		User:       spec.User,
		Env:        append([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/"}, spec.Env...),
		WorkingDir: spec.WorkingDir,
		Labels:     spec.Labels,
	}
	if file.Config.User == "" {
		file.Config.User = defaultUser
	}
	if file.Config.WorkingDir == "" {
		file.Config.WorkingDir = "/"
	}
	return mutate.ConfigFile(made, file)
}
