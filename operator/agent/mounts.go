package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"understudy.dev/understudy/operator/tunnel"
)

const (
	// dataLink is the kubelet's: it points to the folder of the version of
	// now, and is replaced at once when a volume's content changes.
	dataLink = "..data"
	// maxDepth of folders in a mount.
	maxDepth = 16
)

// mounts are those of the configuration that there are, with their versions.
func (p *pod) mounts() []tunnel.Mount {
	mounts := []tunnel.Mount{}
	for _, mount := range p.config.Mounts {
		info, err := os.Stat(p.path(mount))
		if err != nil {
			continue // an optional one that is not there
		}
		version, err := p.version(mount)
		if err != nil {
			p.log.Warn("mount not read", "mount", mount, "error", err)
			continue
		}
		mounts = append(mounts, tunnel.Mount{Path: mount, File: !info.IsDir(), Version: version})
	}
	return mounts
}

// version is where the kubelet's link points; without one, a digest of what
// the files look like from outside.
func (p *pod) version(mount string) (string, error) {
	if target, err := os.Readlink(filepath.Join(p.path(mount), dataLink)); err == nil {
		return target, nil
	}
	digest := sha256.New()
	err := walk(p.path(mount), ".", 0, func(name string, info fs.FileInfo) error {
		fmt.Fprintf(digest, "%q %d %d %v\n", name, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return nil
	})
	return hex.EncodeToString(digest.Sum(nil)[:16]), err
}

// ReadTree hands over the files of one of the configuration's mounts.
func (p *pod) ReadTree(ctx context.Context, mount string, file func(tunnel.File) error) (string, error) {
	if !slices.Contains(p.config.Mounts, mount) {
		return "", fmt.Errorf("%s: %w", mount, tunnel.ErrNotFound)
	}
	before, err := p.version(mount)
	if err != nil {
		return "", gone(err, tunnel.ErrNotFound)
	}
	base := p.path(mount)
	if info, err := os.Lstat(filepath.Join(base, dataLink)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		// By the version's own name: the link may be replaced meanwhile.
		base = filepath.Join(base, before)
	}
	total, count := 0, 0
	err = walk(base, ".", 0, func(name string, _ fs.FileInfo) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		content, err := readFile(filepath.Join(base, name))
		if err != nil {
			return err
		}
		if total, count = total+len(content.Data), count+1; total > tunnel.MaxTreeSize || count > tunnel.MaxTreeFiles {
			return fmt.Errorf("%s: %w", mount, tunnel.ErrTooLarge)
		}
		content.Path = name
		return file(content)
	})
	after, afterErr := p.version(mount)
	if err == nil && afterErr != nil {
		err = afterErr
	}
	if err == nil && after != before {
		err = tunnel.ErrChanging
	}
	return before, gone(err, tunnel.ErrChanging)
}

// gone makes of a file that is not there (any more) what that means.
func gone(err, meaning error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", meaning, err)
	}
	return err
}

// walk calls each with every regular file below base, symbolic links followed,
// but for the kubelet's own entries. A base that is a file is ".".
func walk(base, name string, depth int, each func(name string, info fs.FileInfo) error) error {
	info, err := os.Stat(filepath.Join(base, name))
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		return each(name, info)
	}
	if !info.IsDir() {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("folders deeper than %d: %w", maxDepth, tunnel.ErrTooLarge)
	}
	entries, err := os.ReadDir(filepath.Join(base, name))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if depth == 0 && strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		if err := walk(base, path.Join(name, entry.Name()), depth+1, each); err != nil {
			return err
		}
	}
	return nil
}

// readFile reads one file whole, without its path.
func readFile(path string) (tunnel.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return tunnel.File{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return tunnel.File{}, err
	}
	data, err := io.ReadAll(io.LimitReader(file, tunnel.MaxFileSize+1))
	if err != nil {
		return tunnel.File{}, err
	}
	if len(data) > tunnel.MaxFileSize {
		return tunnel.File{}, fmt.Errorf("%s: %w", path, tunnel.ErrTooLarge)
	}
	return tunnel.File{Mode: uint32(info.Mode().Perm()), Data: data}, nil
}
