package story

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"understudy.dev/understudy/test/e2e/workload"
)

// looksAtFiles is a shell's look at what a container has: a large file of its
// image, what there is beside it, a config map, and whether it can be written.
const looksAtFiles = `
say() { printf '%s=' "$1"; shift; "$@" 2>&1 | tr '\n' ' '; echo; }
say image    sh -c 'sha256sum </nats-server'
say name     ls /worker
say part     sh -c 'tail -c +1048577 /nats-server | head -c 4096 | sha256sum'
say nothing  cat /no-such-file-anywhere
say write    sh -c 'echo x >/worker'
say settings cat /etc/web/settings.ini
say home     sh -c 'echo mine >~/note-$(id -u); cat ~/note-$(id -u)'
`

// My process reads any file of the container, when it opens it, from the image
// too; and where this machine keeps the file system's device from me I am told so,
// and have the config maps all the same.
func TestFiles(t *testing.T) {
	t.Parallel()
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip("SKIPPED: /dev/fuse cannot be opened, by root neither: ", err)
	}
	device.Close()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})
	image, err := os.ReadFile(theMachine.Program("nats-server"))
	s.must(err)
	look := func() (said map[string]string, told string) {
		run := s.run("understudy", "exec", "-f", "none", "-t", "deployment/web/container/web", "--copy-target", "--", "sh", "-c", looksAtFiles)
		s.exits(run, 0)
		s.gone()
		said = map[string]string{}
		for line := range strings.Lines(run.Out.String()) {
			name, value, _ := strings.Cut(line, "=")
			said[name] = strings.TrimSpace(value)
		}
		if said["settings"] != "colour = green" || said["home"] != "mine" {
			t.Errorf("the config map says %q, and my own file %q", said["settings"], said["home"])
		}
		return said, run.Err.String()
	}

	// As the machine's root, who may open the device.
	// Nobody has capabilities on the stage, so the home has to be theirs.
	s.dev.Root = true
	s.must(os.Chown(s.dev.Home, 0, 0))
	said, told := look()
	for name, want := range map[string]string{
		"image": fmt.Sprintf("%x  -", sha256.Sum256(image)), "name": "/worker",
		"part": fmt.Sprintf("%x  -", sha256.Sum256(image[1<<20:1<<20+4096])),
	} {
		if said[name] != want {
			t.Errorf("%s: %q, not %q", name, said[name], want)
		}
	}
	if !strings.Contains(said["nothing"], "No such file") || !strings.Contains(said["write"], "Read-only file system") {
		t.Errorf("what is not there says %q, and what is written %q", said["nothing"], said["write"])
	}
	if strings.Contains(told, "files cannot be read") {
		t.Errorf("it is said that files cannot be read:\n%s", told)
	}

	// As an ordinary user.
	s.dev.Root = false
	s.must(os.Chown(s.dev.Home, theMachine.UID(), theMachine.GID()))
	if theirs := usable("/dev/fuse"); theirs {
		t.Skip("SKIPPED in part: everybody may open /dev/fuse on this machine")
	}
	said, told = look()
	if !strings.Contains(said["name"], "No such file") {
		t.Errorf("a file of the image: %q", said["name"])
	}
	if !strings.Contains(told, "the pod's files cannot be read, but for its config maps, secrets and tokens: /dev/fuse is not open to you on this machine") {
		t.Errorf("nobody said why:\n%s", told)
	}
}

// usable says whether everybody may use a device.
func usable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o006 == 0o006
}
