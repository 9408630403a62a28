// Package build compiles the programs that the cluster consists of from Go
// modules and keeps them in the cache folder, so that a clean checkout finds them
// there. It does not run any of them.
package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/test/cluster/layout"
)

// Builder builds what is missing.
type Builder struct {
	// Module is the folder of this module's go.mod.
	Module string
	Layout layout.Layout
	// Out takes the progress.
	Out io.Writer
	// Clock is time.Now but in tests.
	Clock func() time.Time
}

// target is one program and where it goes.
type target struct {
	Program
	version string
	path    string
}

// Ensure builds those of the named programs (none: all) that are not there as
// they should be, and points the links in the layout's Bin at them. Each is moved
// into place when it is whole, so an interrupted build goes on where it stopped.
// Where all are there it waits for nobody else's build.
func (b Builder) Ensure(ctx context.Context, names ...string) error {
	parts, err := choose(names)
	if err != nil {
		return err
	}
	versions, err := readRequirements(b.Module)
	if err != nil {
		return err
	}
	if missing, _, linked, err := b.missing(parts, versions); err != nil || len(missing) == 0 && linked {
		return err
	}
	unlock, err := b.lock()
	if err != nil {
		return err
	}
	defer unlock()

	missing, targets, linked, err := b.missing(parts, versions)
	if err != nil {
		return err
	}
	if !linked {
		for _, t := range targets {
			if t.builtOf(versions) {
				if err := b.link(t); err != nil {
					return err
				}
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	p := newProgress(b.Out, b.Clock, missing)
	for _, part := range missing {
		p.begin(part)
		for _, program := range part.Programs {
			if err := b.compile(ctx, targets[program.Name], p); err != nil {
				return err
			}
		}
		p.end()
	}
	return nil
}

// missing looks which programs are not there, and whether the links lead to those
// that are.
func (b Builder) missing(parts []Part, versions requirements) (missing []Part, targets map[string]target, linked bool, err error) {
	targets, linked = map[string]target{}, true
	for _, part := range parts {
		absent := part
		absent.Programs = nil
		for _, program := range part.Programs {
			t, err := b.target(program, versions)
			if err != nil {
				return nil, nil, false, err
			}
			targets[program.Name] = t
			if !t.builtOf(versions) {
				absent.Programs = append(absent.Programs, program)
			} else if at, err := os.Readlink(b.Layout.Program(t.Name)); err != nil || at != t.path {
				linked = false
			}
		}
		if len(absent.Programs) > 0 {
			missing = append(missing, absent)
		}
	}
	return missing, targets, linked, nil
}

func (b Builder) lock() (func(), error) {
	if err := os.MkdirAll(b.Layout.Programs(), 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(b.Layout.Programs(), "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the cache folder: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		fmt.Fprintln(b.Out, "waiting for another build of the cluster's programs to end")
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if err != nil {
			return nil, fmt.Errorf("locking the cache folder: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("locking the cache folder: %w", err)
	}
	return func() { _ = file.Close() }, nil
}

func (b Builder) target(program Program, versions requirements) (target, error) {
	sources, err := sourcesOf(b.Module, program)
	if err != nil {
		return target{}, err
	}
	version := versions.version(program.Package)
	if program.Module != nil {
		version = program.Module.Version
	}
	name := key(program, version, sources, runtime.Version(), runtime.GOARCH)
	return target{program, version, filepath.Join(b.Layout.Programs(), program.Name, name, program.Name)}, nil
}

// builtOf says whether the program is there, of exactly these versions. One that
// is built in a module of its own has those of that module's version, which is in
// its folder's name.
func (t target) builtOf(versions requirements) bool {
	if t.Module != nil {
		return t.Module.metBy(t.path)
	}
	return versions.metBy(t.path)
}

// compile builds one program. Programs of one part share what is compiled through
// Go's own build cache.
func (b Builder) compile(ctx context.Context, t target, p *progress) error {
	folder := filepath.Dir(t.path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("building %s: %w", t.Name, err)
	}
	scratch, err := os.MkdirTemp(folder, ".building-")
	if err != nil {
		return fmt.Errorf("building %s: %w", t.Name, err)
	}
	defer os.RemoveAll(scratch)
	whole := filepath.Join(scratch, t.Name)

	source := b.Module
	if t.Module != nil {
		if source, err = t.Module.fetch(ctx, scratch); err != nil {
			return fmt.Errorf("building %s: %w", t.Name, err)
		}
		if err := t.Module.keepFiles(source, Files(t.path)); err != nil {
			return fmt.Errorf("building %s: %w", t.Name, err)
		}
	}
	args := append([]string{"build", "-v"}, t.compilerFlags()...)
	args = append(args, "-ldflags="+t.linkerFlags(t.version), "-o", whole, t.Package)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = source
	// The caller's flags would change what is built without changing its key.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("building %s: %w", t.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("building %s: %w", t.Name, err)
	}
	said := follow(stderr, p)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", t.Name, err, said)
	}
	if err := os.Rename(whole, t.path); err != nil {
		return fmt.Errorf("building %s: %w", t.Name, err)
	}
	return b.link(t)
}

// follow counts the packages that the compiler names and returns what else it said.
func follow(stderr io.Reader, p *progress) string {
	var said bytes.Buffer
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "go: downloading "):
		case strings.ContainsAny(line, " :#\t"):
			said.WriteString(line + "\n")
		default:
			p.compiled()
		}
	}
	return said.String()
}

// link makes Bin/NAME lead to a built program, in one step.
func (b Builder) link(t target) error {
	if err := os.MkdirAll(b.Layout.Bin(), 0o755); err != nil {
		return fmt.Errorf("linking %s: %w", t.Name, err)
	}
	name := b.Layout.Program(t.Name)
	if at, err := os.Readlink(name); err == nil && at == t.path {
		return nil
	}
	temporary := name + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("linking %s: %w", t.Name, err)
	}
	if err := os.Symlink(t.path, temporary); err != nil {
		return fmt.Errorf("linking %s: %w", t.Name, err)
	}
	if err := os.Rename(temporary, name); err != nil {
		return fmt.Errorf("linking %s: %w", t.Name, err)
	}
	return nil
}
