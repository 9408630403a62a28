package story

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/test/e2e/workload"
)

// The container is frozen, and my process reads its files: a volume, and whatever
// else it has. What the container has planted leads my process nowhere else, least
// of all to the agent's own files or the node's, not even when it is swapped for
// something else while it is read.
func TestPauseFiles(t *testing.T) {
	t.Parallel()
	if !theCluster.Own || os.Getuid() != 0 {
		t.Skip("SKIPPED: links are planted through the kernel of this machine, and views of files need /dev/fuse, which only root may open here")
	}
	s := newScene(t)
	s.dev.Root = true
	pod := s.startPods("planted", workload.Options{}, "planted")[0]
	data := filepath.Join(pod.container.Root(), "data")
	const own, theirs = "the container's own", "/understudy.dev/agent"
	write := func(name, text string, mode fs.FileMode) {
		path := filepath.Join(data, name)
		s.must(errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text+"\n"), mode)))
	}
	write("own", own, 0o644)
	write("private", "nobody's but root's", 0o600)
	write("folder/config.json", own, 0o644)
	write("swapped/config.json", own, 0o644)
	for name, to := range map[string]string{
		"good":     "/data/own",
		"absolute": theirs + "/config.json",
		"relative": strings.Repeat("../", 20) + theirs[1:] + "/config.json",
		"parent":   theirs,
		"magic":    "/proc/1/root" + theirs,
		"link":     theirs,
	} {
		s.must(os.Symlink(to, filepath.Join(data, name)))
	}

	// In a parent, while it is read: folder and link change places, now after a long
	// while, in which it can be read, now in the midst of it.
	swapped, stop := make(chan error, 1), make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				swapped <- nil
				return
			case <-time.After(rand.N(50 * time.Millisecond)):
			}
			if err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(data, "swapped"), unix.AT_FDCWD, filepath.Join(data, "link"), unix.RENAME_EXCHANGE); err != nil {
				swapped <- err
				return
			}
		}
	}()
	run := s.pause("pod/planted", nil, "sh", "-c", `
say() { printf '%s=' "$1"; shift; "$@" 2>&1 | tr '\n' ' '; echo; }
say own      cat /data/own
say good     cat /data/good
say folder   cat /data/folder/config.json
say colour   cat /config/colour
say program  head -c 4 /probe
say private  cat /data/private
say absolute cat /data/absolute
say relative cat /data/relative
say parent   cat /data/parent/config.json
say magic    cat /data/magic/config.json
# What a path led to is remembered for a second, so it may lead astray for all of it.
i=0 both=
while [ $i -lt 200 ] || [ "$both" != rightastray ] && [ $i -lt 20000 ]; do
	was="$(cat /data/swapped/config.json 2>/dev/null)"
	echo "swapped=$was"
	case "$both,$was" in
	right,) both=rightastray ;;
	,?*) both=right ;;
	esac
	i=$((i+1))
done
echo all said
sleep 1000`)
	session := s.ready(run, "all said")
	pod.isFrozen("while its files are read")
	close(stop)
	s.must(<-swapped)

	said, times := map[string]string{}, map[string]int{}
	for line := range strings.Lines(run.Out.String()) {
		name, value, _ := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		said[name] = value
		if name == "swapped" {
			times[value]++
		}
	}
	for name, want := range map[string]string{"own": own, "good": own, "folder": own, "colour": "green", "program": "\x7fELF"} {
		if said[name] != want {
			t.Errorf("%s: %q, not %q", name, said[name], want)
		}
	}
	if !strings.Contains(said["private"], "Permission denied") {
		t.Errorf("what the container may not read is %q", said["private"])
	}
	for _, name := range []string{"absolute", "relative", "parent", "magic"} {
		if !strings.Contains(said[name], "No such file") && !strings.Contains(said[name], "Permission denied") {
			t.Errorf("the planted link %s leads to %q", name, said[name])
		}
	}
	if times[own] == 0 || times[""] == 0 || len(times) != 2 {
		t.Errorf("while it was swapped %v was read", times)
	}
	// Whatever name it would have come by.
	if strings.Contains(run.Out.String(), string(session.UID)) || strings.Contains(run.Out.String(), "clientKey") {
		t.Errorf("the agent's own files were read:\n%s", run.Out)
	}
	s.must(run.Interrupt())
	s.exits(run, 130)
	pod.notRestarted()
}
