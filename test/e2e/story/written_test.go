package story

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"understudy.dev/understudy/test/e2e/workload"
)

// writesFiles is what a shell does to a container's volume.
const writesFiles = `
cd /data
say() { printf '%s=' "$1"; shift; "$@" 2>&1 | tr '\n' ' '; echo; }
say made     sh -c 'echo new >own/new && cat own/new'
say appended sh -c 'echo more >>open && cat open'
say cut      sh -c ': >cut; wc -c <cut'
say moved    sh -c 'mv own/new own/moved && ls own'
say folder   sh -c 'mkdir own/deep && ln -s ../moved own/deep/link && cat own/deep/link'
say mode     sh -c 'chmod 640 own/moved && stat -c %a own/moved'
say gone     sh -c 'rm gone; ls gone'
say kept     sh -c 'echo x >kept'
say private  sh -c 'echo x >private'
say refused  sh -c 'echo x >refused/new'
say image    sh -c 'echo x >/probe'
echo all said
sleep 1000`

// My process writes the frozen container's files as the container could: as its
// user, and not what I have said is only to be read.
func TestPauseFilesWritten(t *testing.T) {
	t.Parallel()
	if !theCluster.Own || os.Getuid() != 0 {
		t.Skip("SKIPPED: what is written is looked at through the kernel of this machine, and views of files need /dev/fuse, which only root may open here")
	}
	s := newScene(t)
	s.dev.Root = true
	pod := s.startPods("planted", workload.Options{}, "planted")[0]
	user := int(*pod.before.Spec.SecurityContext.RunAsUser)
	data := filepath.Join(pod.container.Root(), "data")
	write := func(name string, owner int, mode fs.FileMode) {
		path := filepath.Join(data, name)
		s.must(errors.Join(os.WriteFile(path, []byte("old\n"), mode), os.Chmod(path, mode), os.Chown(path, owner, owner)))
	}
	for name, owner := range map[string]int{"own": user, "refused": 0} {
		s.must(errors.Join(os.Mkdir(filepath.Join(data, name), 0o755), os.Chown(filepath.Join(data, name), owner, owner)))
	}
	for _, name := range []string{"open", "cut", "gone", "kept"} {
		write(name, user, 0o644)
	}
	write("private", 0, 0o600)

	s.must(os.WriteFile(filepath.Join(s.dev.Home, "understudy.yaml"), []byte("feature:\n  fs:\n    mode: write\n    read_only: ^/data/kept$\n"), 0o644))
	run := s.pause("pod/planted", []string{"-f", filepath.Join(s.dev.Home, "understudy.yaml")}, "sh", "-c", writesFiles)
	s.ready(run, "all said")
	pod.isFrozen("while its files are written")

	said := map[string]string{}
	for line := range strings.Lines(run.Out.String()) {
		name, value, _ := strings.Cut(line, "=")
		said[name] = strings.TrimSpace(value)
	}
	for name, want := range map[string]string{
		"made": "new", "appended": "old more", "cut": "0", "moved": "moved", "folder": "new", "mode": "640", "gone": "No such file",
		"kept": "Read-only file system", "private": "Permission denied", "refused": "Permission denied", "image": "denied",
	} {
		if !strings.HasSuffix(said[name], want) && !strings.Contains(said[name], want) {
			t.Errorf("%s: %q, not %q", name, said[name], want)
		}
	}
	// What the container itself has there.
	for name, want := range map[string]string{"own/moved": "new\n", "own/deep/link": "new\n", "open": "old\nmore\n", "cut": "", "kept": "old\n", "private": "old\n"} {
		if got, err := os.ReadFile(filepath.Join(data, name)); err != nil || string(got) != want {
			t.Errorf("the container has %q in %s, %v, not %q", got, name, err, want)
		}
	}
	info, err := os.Stat(filepath.Join(data, "own/moved"))
	s.must(err)
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != user || info.Mode().Perm() != 0o640 {
		t.Errorf("what was written is of user %d, %v", owner, info.Mode())
	}
	for _, name := range []string{"gone", "refused/new", "own/new"} {
		if _, err := os.Lstat(filepath.Join(data, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the container has %s: %v", name, fmt.Sprint(err))
		}
	}
	s.must(run.Interrupt())
	s.exits(run, 130)
	pod.notRestarted()
}
