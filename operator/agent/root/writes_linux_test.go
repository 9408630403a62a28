package root

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// writer is who changes a container's files, from outside of it or as its own
// agent.
type writer interface {
	Change(ctx context.Context, change tunnel.Change) (tunnel.FileInfo, error)
	write(ctx context.Context, writing tunnel.Writing, content string, offset int64) error
}

type outer struct{ *Reader }

func (o outer) write(ctx context.Context, writing tunnel.Writing, content string, offset int64) error {
	file, err := o.Write(ctx, writing)
	if err != nil {
		return err
	}
	return errors.Join(file.Put(ctx, []byte(content), offset), file.Sync(ctx), file.Close(ctx))
}

type inner struct{ *Files }

func (i inner) Change(_ context.Context, change tunnel.Change) (tunnel.FileInfo, error) {
	return i.Files.Change(change)
}

func (i inner) write(_ context.Context, writing tunnel.Writing, content string, offset int64) error {
	file, err := i.Write(writing)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte(content), offset)
	return errors.Join(err, file.Sync(), file.Close())
}

// writers runs a test for both, in a container whose process is of a user who
// owns the folder home and nothing else.
func writers(t *testing.T, test func(t *testing.T, c *container, w writer)) {
	t.Run("from outside", func(t *testing.T) {
		c := newContainer(t, uid)
		reader, err := Open(c.process)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { reader.Close() })
		c.home(uid)
		test(t, c, outer{reader})
	})
	t.Run("as its agent", func(t *testing.T) {
		c := newContainer(t, uid)
		files, err := at(c.dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { files.Close() })
		c.home(os.Getuid())
		test(t, c, inner{files})
	})
}

func (c *container) home(owner int) {
	c.t.Helper()
	home := filepath.Join(c.dir, "home")
	if err := errors.Join(os.Mkdir(home, 0o755), os.Chown(home, owner, owner)); err != nil {
		c.t.Fatal(err)
	}
}

// content is what is in the container's home: each name with its mode and text.
func (c *container) content() map[string]string {
	c.t.Helper()
	found := map[string]string{}
	home := filepath.Join(c.dir, "home")
	err := filepath.WalkDir(home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == home {
			return err
		}
		name, _ := filepath.Rel(home, path)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			text = "-> " + target
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(data)
		}
		found[name] = text
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return found
}

func TestWriting(t *testing.T) {
	writers(t, func(t *testing.T, c *container, w writer) {
		ctx := t.Context()
		change := func(change tunnel.Change) tunnel.FileInfo {
			t.Helper()
			info, err := w.Change(ctx, change)
			if err != nil {
				t.Errorf("%s of %s: %v", change.Op, change.Path, err)
			}
			return info
		}
		write := func(writing tunnel.Writing, content string, offset int64) {
			t.Helper()
			if err := w.write(ctx, writing, content, offset); err != nil {
				t.Errorf("writing %s: %v", writing.Path, err)
			}
		}
		if info := change(tunnel.Change{Op: tunnel.ChangeMkdir, Path: []byte("/home/dir"), Mode: 0o777}); info.Mode != unix.S_IFDIR|0o777 {
			t.Errorf("the folder is %o", info.Mode)
		}
		write(tunnel.Writing{Path: []byte("/home/dir/new"), Create: true, Exclusive: true, Mode: 0o666}, "hello world", 0)
		write(tunnel.Writing{Path: []byte("/home/dir/new")}, "W", 6)
		write(tunnel.Writing{Path: []byte("/home/dir/new"), Append: true}, "!", 0)
		write(tunnel.Writing{Path: []byte("/home/sealed"), Create: true, Mode: 0o444}, "once", 0)
		write(tunnel.Writing{Path: []byte("/home/cut"), Create: true, Mode: 0o600}, "long text", 0)
		write(tunnel.Writing{Path: []byte("/home/cut"), Create: true, Truncate: true}, "cut", 0)
		write(tunnel.Writing{Path: []byte("/home/gone"), Create: true, Mode: 0o600}, "", 0)
		change(tunnel.Change{Op: tunnel.ChangeUnlink, Path: []byte("/home/gone")})
		change(tunnel.Change{Op: tunnel.ChangeMkdir, Path: []byte("/home/empty"), Mode: 0o700})
		change(tunnel.Change{Op: tunnel.ChangeRmdir, Path: []byte("/home/empty")})
		change(tunnel.Change{Op: tunnel.ChangeSymlink, Path: []byte("/home/link"), To: []byte("dir/new")})
		change(tunnel.Change{Op: tunnel.ChangeRename, Path: []byte("/home/cut"), To: []byte("/home/dir/moved")})
		change(tunnel.Change{Op: tunnel.ChangeChmod, Path: []byte("/home/dir/moved"), Mode: 0o640})
		if info := change(tunnel.Change{Op: tunnel.ChangeTruncate, Path: []byte("/home/dir/moved"), Size: 1}); info.Size != 1 {
			t.Errorf("it has %d bytes", info.Size)
		}
		const then = 1_700_000_000_000_000_005
		if info := change(tunnel.Change{Op: tunnel.ChangeTouch, Path: []byte("/home/dir/moved"), Modified: then}); info.Modified != then {
			t.Errorf("it was modified at %d", info.Modified)
		}
		want := map[string]string{
			"dir": "drwxrwxrwx", "dir/new": "-rw-rw-rw- hello World!", "dir/moved": "-rw-r----- c", "sealed": "-r--r--r-- once", "link": "-> dir/new",
		}
		if diff := cmp.Diff(want, c.content()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestWritingRefused: what the container could not do, or would do to the node
// by a link that was planted, is not done.
func TestWritingRefused(t *testing.T) {
	writers(t, func(t *testing.T, c *container, w writer) {
		outside := strings.TrimPrefix(c.outside, "/")
		for path, target := range map[string]string{
			"away": c.outside, "up": "../../../../../../../../../" + outside, "home/file": filepath.Join(c.outside, "secret"),
			"node": "/proc/" + strconv.Itoa(c.pid) + "/root", "home/loop": "loop", "home/to-read-only": "/" + readOnly,
		} {
			c.link(target, path)
		}
		c.write("home/there", "there", 0o600)
		c.write(readOnly+"/file", "fixed", 0o666)
		c.write("home/full/x", "x", 0o666)
		if err := errors.Join(unix.Mkfifo(filepath.Join(c.dir, "home/pipe"), 0o666), os.Chmod(filepath.Join(c.dir, "home/pipe"), 0o666),
			unix.Mknod(filepath.Join(c.dir, "home/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), os.Chmod(filepath.Join(c.dir, "home/null"), 0o666)); err != nil {
			t.Fatal(err)
		}
		before := c.content()
		ctx := t.Context()
		write := func(path string, create, exclusive bool) func() error {
			return func() error {
				return w.write(ctx, tunnel.Writing{Path: []byte(path), Create: create, Exclusive: exclusive, Truncate: true, Mode: 0o666}, "planted", 0)
			}
		}
		change := func(op tunnel.ChangeOp, path, to string) func() error {
			return func() error {
				_, err := w.Change(ctx, tunnel.Change{Op: op, Path: []byte(path), To: []byte(to), Mode: 0o777, Keep: true})
				return err
			}
		}
		_, isOuter := w.(outer)
		for name, test := range map[string]struct {
			do    func() error
			want  []error
			outer bool // of the user's rights, which the agent's own test has not
		}{
			"an absolute link":           {do: write("/away/planted", true, false), want: []error{unix.ENOENT}},
			"a link that goes up":        {do: write("/up/planted", true, false), want: []error{unix.ENOENT}},
			"a magic link":               {do: write("/node"+c.outside+"/planted", true, false), want: []error{unix.ELOOP, unix.ENOENT, unix.EACCES}},
			"the same, directly":         {do: write("/proc/"+strconv.Itoa(c.pid)+"/root"+c.outside+"/planted", true, false), want: []error{unix.ELOOP, unix.ENOENT, unix.EACCES}},
			"a link at the name":         {do: write("/home/file", true, false), want: []error{unix.ENXIO}},
			"one that is to be made":     {do: write("/home/file", true, true), want: []error{unix.EEXIST}},
			"a link to itself":           {do: write("/home/loop/x", true, false), want: []error{unix.ELOOP}},
			"a path with ..":             {do: write("/home/../../../../../"+outside+"/planted", true, false), want: []error{unix.ENOENT}},
			"a folder elsewhere":         {do: change(tunnel.ChangeMkdir, "/away/planted", ""), want: []error{unix.ENOENT}},
			"moving it away":             {do: change(tunnel.ChangeRename, "/home/there", "/away/planted"), want: []error{unix.ENOENT}},
			"moving it in":               {do: change(tunnel.ChangeRename, "/away/secret", "/home/planted"), want: []error{unix.ENOENT}},
			"removing the node's":        {do: change(tunnel.ChangeUnlink, "/up/secret", ""), want: []error{unix.ENOENT}},
			"the mode of a link's end":   {do: change(tunnel.ChangeChmod, "/home/file", ""), want: []error{unix.EOPNOTSUPP}},
			"emptying a link's end":      {do: change(tunnel.ChangeTruncate, "/home/file", ""), want: []error{unix.EOPNOTSUPP}},
			"a pipe":                     {do: write("/home/pipe", true, false), want: []error{unix.ENXIO}},
			"a device":                   {do: write("/home/null", true, false), want: []error{unix.ENXIO}},
			"a folder as a file":         {do: write("/home/full", true, false), want: []error{unix.EISDIR}},
			"the root":                   {do: change(tunnel.ChangeRmdir, "/", ""), want: []error{unix.EBUSY}},
			"a folder that is not empty": {do: change(tunnel.ChangeRmdir, "/home/full", ""), want: []error{unix.ENOTEMPTY, unix.EACCES, unix.EPERM}},
			"what is there":              {do: change(tunnel.ChangeRename, "/home/there", "/home/full"), want: []error{unix.EEXIST}},
			"what is not there":          {do: write("/home/nothing", false, false), want: []error{unix.ENOENT}},
			"what nobody knows":          {do: change("explode", "/home/there", ""), want: []error{unix.EOPNOTSUPP}},
			"the kernel's":               {do: write("/proc/sys/kernel/core_pattern", false, false), want: []error{unix.EROFS}, outer: true},
			"a read-only mount":          {do: write("/read-only/file", false, false), want: []error{unix.EROFS}, outer: true},
			"through a link":             {do: change(tunnel.ChangeMkdir, "/home/to-read-only/x", ""), want: []error{unix.EROFS}, outer: true},
			"another user's folder":      {do: write("/planted", true, false), want: []error{unix.EACCES}, outer: true},
			"another user's file":        {do: write("/home/there", false, false), want: []error{unix.EACCES}, outer: true},
		} {
			if test.outer && !isOuter {
				continue
			}
			err := test.do()
			found := false
			for _, want := range test.want {
				found = found || errors.Is(err, want)
			}
			if !found {
				t.Errorf("%s: %v, want one of %v", name, err, test.want)
			}
		}
		if diff := cmp.Diff(before, c.content()); diff != "" {
			t.Errorf("the home has changed (-was +is)\n%s", diff)
		}
		if text, err := os.ReadFile(filepath.Join(c.outside, "secret")); err != nil || string(text) != "the node's" {
			t.Errorf("the node's file says %q, %v", text, err)
		}
		if entries, err := os.ReadDir(c.outside); err != nil || len(entries) != 1 {
			t.Errorf("the node's folder has %v, %v", entries, err)
		}
	})
}

// A folder that is swapped for a link while something is written into it never
// leads out.
func TestWritingSwapped(t *testing.T) {
	c := newContainer(t, uid)
	c.home(uid)
	if err := errors.Join(os.Mkdir(filepath.Join(c.dir, "home/real"), 0o777), os.Chmod(filepath.Join(c.dir, "home/real"), 0o777), os.Chmod(c.outside, 0o777)); err != nil {
		t.Fatal(err)
	}
	c.link("real", "home/folder")
	swapped, done := make(chan error, 1), make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				swapped <- nil
				return
			default:
			}
			next := filepath.Join(c.dir, "home/next")
			to := []string{"real", c.outside, strings.Repeat("../", 30) + c.outside[1:]}[i%3]
			if err := errors.Join(os.Symlink(to, next), os.Rename(next, filepath.Join(c.dir, "home/folder"))); err != nil {
				swapped <- err
				return
			}
		}
	}()
	w := outer{c.reader()}
	written := 0
	for i := range 1000 {
		name := []byte("/home/folder/" + strconv.Itoa(i%7))
		if w.write(t.Context(), tunnel.Writing{Path: name, Create: true, Mode: 0o666}, "x", 0) == nil {
			written++
		}
		_, _ = w.Change(t.Context(), tunnel.Change{Op: tunnel.ChangeRename, Path: name, To: append(name, 'n')})
		_, _ = w.Change(t.Context(), tunnel.Change{Op: tunnel.ChangeChmod, Path: []byte("/home/folder/secret"), Mode: 0o777})
		_, _ = w.Change(t.Context(), tunnel.Change{Op: tunnel.ChangeUnlink, Path: []byte("/home/folder/secret")})
	}
	close(done)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if written == 0 {
		t.Error("never wrote anything: the race was not run")
	}
	entries, err := os.ReadDir(c.outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("the node's folder has %v, %v", entries, err)
	}
	if info, err := os.Stat(filepath.Join(c.outside, "secret")); err != nil || info.Mode() != 0o644 {
		t.Errorf("the node's file is %v, %v", info, err)
	}
}
