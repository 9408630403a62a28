package stage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage/view"
	"understudy.dev/understudy/operator/agent/root"
	"understudy.dev/understudy/operator/tunnel"
)

// podFiles are a pod's, whose root is a folder of this machine.
type podFiles struct {
	view.Machine
	root, directory string
}

// reach waits for as long as the pod is out of reach.
func (p podFiles) reach(ctx context.Context) error {
	if _, err := os.Stat(p.directory + "/cut"); err != nil {
		return nil //nolint:nilerr // nothing is cut
	}
	_ = os.WriteFile(p.directory+"/waiting", nil, 0o666)
	<-ctx.Done()
	return context.Cause(ctx)
}

func (p podFiles) Look(ctx context.Context, path string) (tunnel.FileInfo, error) {
	if err := p.reach(ctx); err != nil {
		return tunnel.FileInfo{}, err
	}
	return p.Machine.Look(ctx, p.root+path)
}

func (p podFiles) List(ctx context.Context, path string) ([]tunnel.Entry, error) {
	if err := p.reach(ctx); err != nil {
		return nil, err
	}
	return p.Machine.List(ctx, p.root+path)
}

func (p podFiles) OpenFile(ctx context.Context, path string) (view.File, error) {
	if err := p.reach(ctx); err != nil {
		return nil, err
	}
	return p.Machine.OpenFile(ctx, p.root+path)
}

func (p podFiles) Space(ctx context.Context, path string) (tunnel.Space, error) {
	if err := p.reach(ctx); err != nil {
		return tunnel.Space{}, err
	}
	return p.Machine.Space(ctx, p.root+path)
}

// Change is the agent's own, whose root is the whole machine.
func (p podFiles) Change(ctx context.Context, change tunnel.Change) (tunnel.FileInfo, error) {
	if err := p.reach(ctx); err != nil {
		return tunnel.FileInfo{}, err
	}
	files, err := root.Here()
	if err != nil {
		return tunnel.FileInfo{}, err
	}
	defer files.Close()
	change.Path = append([]byte(p.root), change.Path...)
	if change.Op == tunnel.ChangeRename {
		change.To = append([]byte(p.root), change.To...)
	}
	return files.Change(change)
}

func (p podFiles) OpenWrite(ctx context.Context, writing tunnel.Writing) (view.Written, error) {
	if err := p.reach(ctx); err != nil {
		return nil, err
	}
	files, err := root.Here()
	if err != nil {
		return nil, err
	}
	defer files.Close()
	writing.Path = append([]byte(p.root), writing.Path...)
	file, err := files.Write(writing)
	return podWritten{file}, err
}

type podWritten struct{ tunnel.WrittenFile }

func (w podWritten) Write(_ context.Context, p []byte, offset int64) error {
	_, err := w.WriteAt(p, offset)
	return err
}

func (w podWritten) Sync(context.Context) error { return w.WrittenFile.Sync() }

func (s script) files() Files {
	if s.Pod == "" {
		return Files{}
	}
	files := Files{Pod: podFiles{root: s.Pod, directory: s.Directory}}
	for _, path := range s.Shown {
		info, err := view.Machine{}.Look(context.Background(), s.Pod+path)
		if err == nil {
			files.Shown = append(files.Shown, ShownPath{Path: path, Root: info})
		}
	}
	if s.Written != "" {
		expression := regexp.MustCompile(s.Written)
		files.Writer, files.Line.Writable = files.Pod.(view.Writer), expression.MatchString
	}
	if s.Machine != "" {
		expression := regexp.MustCompile(s.Machine)
		files.Line.Mixed, files.Line.Place = true, func(path string) (string, view.Place) {
			switch {
			case strings.HasSuffix(path, "/hidden"):
				return path, view.Nowhere
			case expression.MatchString(path):
				return path, view.Here
			}
			return path, view.Pod
		}
	}
	return files
}

// viewers are the players to whom /dev/fuse is open.
func viewers(t *testing.T, test func(t *testing.T, p player)) {
	eachPlayer(t, func(t *testing.T, p player) {
		info, err := os.Stat("/dev/fuse")
		if err != nil {
			t.Skipf("no file system can be served by a process on this machine: %v", err)
		}
		if p.uid != 0 && info.Mode().Perm()&0o006 != 0o006 {
			t.Skipf("/dev/fuse is open to root alone on this machine (%v)", info.Mode())
		}
		test(t, p)
	})
}

// podRoot makes a pod's files: each path to its content, a link as "-> target".
func podRoot(t testing.TB, files map[string]string) string {
	t.Helper()
	root := shared(t)
	for path, content := range files {
		at := filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		if target, link := strings.CutPrefix(content, "-> "); link {
			err = errors.Join(err, os.Symlink(target, at))
		} else {
			err = errors.Join(err, os.WriteFile(at, []byte(content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFilesOfThePod(t *testing.T) {
	viewers(t, func(t *testing.T, p player) {
		large := bytes.Repeat([]byte("a line of a large file\n"), 300_000) // 6.9 MB
		root := podRoot(t, map[string]string{
			"/no-such-app/conf/app.yaml": "the pod's\n", "/no-such-app/current": "-> conf/app.yaml", "/no-such-app/absolute": "-> /no-such-data/x",
			"/no-such-data/x": "another folder's\n", "/no-such-app/large": string(large), "/no-such-app/run.sh": "#!/bin/sh\necho ran\n",
			"/no-such-app.jar": "a single file\n", "/no-such-app/dangling": "-> /nowhere/at/all", "/no-such-app/empty": "",
		})
		if err := os.Chmod(root+"/no-such-app/run.sh", 0o755); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(large)
		s := script{Welcome: welcome(), Pod: root, Shown: []string{"/no-such-app", "/no-such-data", "/no-such-app.jar"}}
		got := output(t, p, s, "sh", "-c", `
			cd /no-such-app; pwd
			cat conf/app.yaml current absolute /no-such-app.jar; ls
			sha256sum < large; tail -c 5 large; dd if=large bs=7 skip=1000 count=1 2>/dev/null; echo
			./run.sh; readlink current; stat -c %s large empty; wc -c < empty
			stat -c '%F %a %u' conf/app.yaml
			cat dangling 2>&1; cat nothing 2>&1; cat conf/app.yaml/below 2>&1; cat conf 2>&1
			rm conf/app.yaml 2>&1; mkdir d 2>&1
			test -w conf/app.yaml || echo not to be written; test -x run.sh && echo executable; test -x empty || echo not executable
			test $(stat -f -c %b .) -gt 0 && echo space
			ls / | grep no-such | tr '\n' ' '
		`)
		want := "/no-such-app\nthe pod's\nthe pod's\nanother folder's\na single file\nabsolute\nconf\ncurrent\ndangling\nempty\nlarge\nrun.sh\n" +
			hex.EncodeToString(sum[:]) + "  -\nfile\n" + string(large[7000:7007]) + "\nran\nconf/app.yaml\n6900000\n0\n0\n" +
			"regular file 644 " + map[bool]string{true: "0", false: "65534"}[p.uid == 0] + "\n" +
			"cat: dangling: No such file or directory\ncat: nothing: No such file or directory\ncat: conf/app.yaml/below: Not a directory\ncat: conf: Is a directory\n" +
			"rm: cannot remove 'conf/app.yaml': Read-only file system\nmkdir: cannot create directory ‘d’: Read-only file system\n" +
			"not to be written\nexecutable\nnot executable\nspace\nno-such-app no-such-app.jar no-such-data"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// What is written goes to the pod, where it may be written, and is there at once.
func TestFilesWritten(t *testing.T) {
	viewers(t, func(t *testing.T, p player) {
		large := bytes.Repeat([]byte("a line of a large file\n"), 100_000) // 2.3 MB
		pod := podRoot(t, map[string]string{
			"/no-such-app/data/old": "old\n", "/no-such-app/data/over": "over\n", "/no-such-app/config": "fixed\n", "/no-such-app/data/gone": "gone\n",
			"/no-such-app/data/large": string(large), "/no-such-app/data/dir/inner": "inner\n", "/no-such-app.log": "begun\n", "/no-such-app/data/fixed/x": "x\n",
		})
		if err := filepath.WalkDir(pod, func(path string, _ os.DirEntry, _ error) error { return os.Chmod(path, 0o777) }); err != nil {
			t.Fatal(err)
		}
		s := script{Welcome: welcome(), Pod: pod, Shown: []string{"/no-such-app", "/no-such-app.log"}, Written: `^/no-such-app(/data$|/data/[^f]|\.log$)`}
		got := output(t, p, s, "sh", "-c", `
			cd /no-such-app/data; umask 022
			echo new > new; echo more >> new; cat new; stat -c '%a %s' new
			echo changed > old; cat old; printf X | dd of=over bs=1 seek=1 conv=notrunc 2>/dev/null; cat over
			mkdir made; echo in > made/in; mv made renamed; cat renamed/in; echo again > renamed/in; cat renamed/in
			mv dir moved; cat moved/inner; mkdir dir; echo other > dir/inner; cat dir/inner moved/inner
			echo a > a; mv a b; echo c > a; mv a b; cat b; ls a 2>&1
			ln -s new link; cat link; chmod 700 new; stat -c %a new; touch -d '2001-02-03 04:05:06 UTC' new; date -u -r new +%F
			sed -i s/changed/edited/ old; cat old; truncate -s 3 old; cat old; echo
			cp large copy; cmp large copy && echo the same; dd if=large of=synced conv=fsync 2>/dev/null; sha256sum < synced
			exec 3<>open; echo held >&3; rm open; echo on >&3; stat -Lc %s /proc/self/fd/3; exec 3>&-
			rm gone; ls gone 2>&1; rm -r renamed; rmdir moved 2>&1; ln new second 2>&1; mkfifo pipe 2>&1
			echo line >> /no-such-app.log; cat /no-such-app.log
			(echo x > ../config) 2>&1 | sed 's/^sh: [0-9]*: //'; rm ../config 2>&1; mv new ../new 2>&1; mv new fixed/new 2>&1
			test -w ../config || echo fixed; test -w new && echo to be written; ls
		`)
		sum := sha256.Sum256(large)
		want := "new\nmore\n644 9\nchanged\noXer\nin\nagain\ninner\nother\ninner\nc\nls: cannot access 'a': No such file or directory\n" +
			"new\nmore\n700\n2001-02-03\nedited\nedi\nthe same\n" + hex.EncodeToString(sum[:]) + "  -\n8\n" +
			"ls: cannot access 'gone': No such file or directory\nrmdir: failed to remove 'moved': Directory not empty\n" +
			"ln: failed to create hard link 'second' => 'new': Operation not permitted\nmkfifo: cannot create fifo 'pipe': Operation not permitted\n" +
			"begun\nline\n" +
			"cannot create ../config: Read-only file system\n" +
			"rm: cannot remove '../config': Read-only file system\nmv: cannot move 'new' to '../new': Read-only file system\n" +
			"mv: cannot move 'new' to 'fixed/new': Read-only file system\nfixed\nto be written\n" +
			"b\ncopy\ndir\nfixed\nlarge\nlink\nmoved\nnew\nold\nover\nsynced"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		for name, want := range map[string]string{"no-such-app/data/new": "new\nmore\n", "no-such-app/config": "fixed\n", "no-such-app/data/b": "c\n", "no-such-app.log": "begun\nline\n"} {
			if text, err := os.ReadFile(filepath.Join(pod, name)); err != nil || string(text) != want {
				t.Errorf("%s of the pod is %q, %v", name, text, err)
			}
		}
	})
}

// Whose a path is may differ within one folder.
func TestFilesOfBoth(t *testing.T) {
	viewers(t, func(t *testing.T, p player) {
		own := shared(t)
		for _, path := range []string{"both/x.local", "both/y.remote", "only/z.local"} {
			if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(own, path)), 0o755), os.WriteFile(filepath.Join(own, path), []byte("here\n"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		root := podRoot(t, map[string]string{own + "/both/x.local": "the pod's\n", own + "/both/y.remote": "the pod's\n", own + "/both/hidden": "no"})
		got := output(t, p, script{Welcome: welcome(), Pod: root, Shown: []string{own}, Machine: `\.local$`},
			"sh", "-c", "cd "+own+"; cat both/x.local both/y.remote only/z.local; cat both/hidden 2>&1; ls . both only")
		want := "here\nthe pod's\nhere\ncat: both/hidden: No such file or directory\n.:\nboth\nonly\n\nboth:\nx.local\ny.remote\n\nonly:\nz.local"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// Whoever waits for a pod that is out of reach can be interrupted, killed, and
// ended with the session.
func TestOutOfReach(t *testing.T) {
	viewers(t, func(t *testing.T, p player) {
		for name, end := range map[string]func(t *testing.T, s *show, directory, pid string){
			"killed": func(t *testing.T, s *show, _, pid string) {
				if err := unix.Kill(number(t, pid), unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
				s.expect("cat has ended")
			},
			"interrupted": func(t *testing.T, s *show, _, pid string) {
				if err := unix.Kill(number(t, pid), unix.SIGTERM); err != nil {
					t.Fatal(err)
				}
				s.expect("cat has ended")
			},
			"ended": func(t *testing.T, s *show, directory, pid string) {
				put(t, directory, "end", []byte{})
				s.exitCode()
				if alive(pid) {
					t.Errorf("process %s is alive", pid)
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				directory := shared(t)
				s := script{
					Welcome: welcome(), Directory: directory, Pod: podRoot(t, map[string]string{"/no-such-app/x": "x"}),
					Shown: []string{"/no-such-app"}, EndGrace: time.Millisecond,
				}
				began := begin(t, command(t, p, s, "sh", "-c", `touch `+directory+`/cut; cat /no-such-app/x & echo "cat is $!"; wait $!; echo cat has ended; read line`))
				pid := began.expect("cat is ")
				eventually(t, func() error { _, err := os.Stat(directory + "/waiting"); return err })
				before := time.Now()
				end(t, began, directory, pid)
				if took := time.Since(before); took > 10*time.Second { // the patience with the pod is longer
					t.Errorf("it took %v", took)
				}
			})
		}
	})
}

// What nobody can read because /dev/fuse is closed is said, and mounts are as ever.
func TestNoViews(t *testing.T) {
	info, err := os.Stat("/dev/fuse")
	if os.Getuid() != 0 || err != nil || info.Mode().Perm()&0o006 == 0o006 {
		t.Skip("there is nobody to whom /dev/fuse is closed")
	}
	s := mounted()
	s.Directory = shared(t)
	s.Pod, s.Shown = podRoot(t, map[string]string{"/no-such-directory/x": "x"}), []string{"/no-such-directory"}
	got := output(t, player{"nobody", nobody, DeviceAuto}, s, "sh", "-c", "cat /no-such-directory/on/this/host/key; ls /no-such-directory")
	if want := "valueon"; got != want {
		t.Errorf("got %q, not %q", got, want)
	}
	logged(t, s.Directory, "notice the pod's files cannot be read")
}

// Mounts below what is shown, and those that are too large to be copied, are read
// when they are needed.
func TestMountsInViews(t *testing.T) {
	viewers(t, func(t *testing.T, p player) {
		w := welcome()
		w.Mounts = []tunnel.Mount{{Path: "/no-such-app/config"}, {Path: "/no-such-large"}, {Path: "/no-such-small"}}
		s := script{
			Welcome: w, Shown: []string{"/no-such-app"},
			Trees: map[string]tunnel.Tree{"/no-such-small": tree("key", "a copy\n"), "/no-such-large": {Version: tooLarge}},
			Pod:   podRoot(t, map[string]string{"/no-such-app/config/key": "read\n", "/no-such-large/key": "read, too\n"}),
		}
		got := output(t, p, s, "cat", "/no-such-app/config/key", "/no-such-large/key", "/no-such-small/key")
		if want := "read\nread, too\na copy"; got != want {
			t.Errorf("got %q, not %q", got, want)
		}
	})
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
