package record

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"understudy.dev/understudy/operator/freeze/cgroup"
)

func sample(t *testing.T, session, container string) Record {
	t.Helper()
	self, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return Record{
		Session: session, Pod: "shop/worker-1", PodUID: "p", Agent: self,
		Since:  time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
		Frozen: []Frozen{{Container: cgroup.Container{PodUID: "p", ID: container}, Version: cgroup.V2, Path: "/kubepods/podp/" + container}},
	}
}

func TestClaim(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "made"))
	mine := sample(t, "a", "1")
	if err := dir.Claim(mine); err != nil {
		t.Fatal(err)
	}
	mine.Frozen = append(mine.Frozen, sample(t, "a", "2").Frozen...)
	if err := dir.Claim(mine); err != nil {
		t.Fatalf("changing it: %v", err)
	}
	got, err := dir.Read("a")
	mine.Format = format
	if err != nil || !cmp.Equal(got, mine) {
		t.Errorf("%v\n%s", err, cmp.Diff(mine, got))
	}

	var held *HeldError
	if err := dir.Claim(sample(t, "b", "2")); !errors.As(err, &held) || held.By.Session != "a" {
		t.Errorf("another session with the same container: %v", err)
	}
	if err := dir.Claim(sample(t, "b", "3")); err != nil {
		t.Errorf("another session with another: %v", err)
	}
	stranger := sample(t, "a", "9")
	stranger.Agent.PID++
	if err := dir.Claim(stranger); !errors.As(err, &held) {
		t.Errorf("the same session of another agent: %v", err)
	}
	records, err := dir.List()
	if err != nil || len(records) != 2 {
		t.Errorf("List() = %v, %v", records, err)
	}

	for range 2 {
		if err := dir.Remove("a"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dir.Read("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read() = %v", err)
	}
	if err := dir.Claim(sample(t, "c", "2")); err != nil {
		t.Errorf("what was let go: %v", err)
	}
}

// Half a record is a record that cannot be read, never one with half in it.
func TestUnreadable(t *testing.T) {
	dir := Dir(t.TempDir())
	if err := dir.Claim(sample(t, "good", "1")); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"half.json":   `{"format":1,"session":"half","frozen":[`,
		"later.json":  `{"format":2,"session":"later"}`,
		"other.json":  `{"format":1,"session":"good"}`,
		".part-1":     `{`,
		"guard.log":   `x`,
		".a.json":     `{`,
		"a b.json":    `{`,
		"notes.jsonl": `{`,
	} {
		if err := os.WriteFile(filepath.Join(string(dir), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	records, err := dir.List()
	if len(records) != 1 || records[0].Session != "good" {
		t.Errorf("List() = %v", records)
	}
	unwrapped, ok := err.(interface{ Unwrap() []error })
	if !ok || len(unwrapped.Unwrap()) != 3 {
		t.Errorf("List() says %v", err)
	}
	if bad, rest := Unreadable(err); len(bad) != 3 || rest != nil {
		t.Errorf("Unreadable() = %v, %v", bad, rest)
	}
}

// Two versions do not both freeze a container, and neither is kept from a node by
// what it cannot read of other pods.
func TestUnreadableAndClaim(t *testing.T) {
	for content, refused := range map[string]bool{
		`{"format":2,"podUID":"another","frozen":"otherwise"}`: false,
		`{"format":2,"podUID":"p","frozen":"otherwise"}`:       true,
		`{"format":2}`:                 true,
		`{"format":1,"podUID":"anothe`: true,
	} {
		t.Run(content, func(t *testing.T) {
			dir := Dir(t.TempDir())
			path := filepath.Join(string(dir), "strange.json")
			put := func() {
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put()
			err := dir.Claim(sample(t, "next", "2"))
			var unreadable *UnreadableError
			if errors.As(err, &unreadable) != refused || refused != (err != nil) {
				t.Fatalf("Claim() = %v", err)
			}
			if refused && (!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove the file")) {
				t.Errorf("it does not say where it is and what to do: %v", err)
			}
			if _, err := dir.Read("next"); errors.Is(err, fs.ErrNotExist) != refused {
				t.Errorf("Read() = %v", err)
			}
			// Who has the pod already is not kept from writing down what it does.
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := dir.Claim(sample(t, "next", "2")); err != nil {
				t.Fatal(err)
			}
			put()
			if err := dir.Claim(sample(t, "next", "3")); err != nil {
				t.Errorf("Claim() again = %v", err)
			}
			if err := dir.Claim(sample(t, "strange", "4")); !errors.As(err, &unreadable) {
				t.Errorf("Claim() of the same name = %v", err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, bad := range []string{"", ".", "..", ".lock", "a/b", "a b", "ä", "../x", string(make([]byte, 300))} {
		if Check(bad) == nil {
			t.Errorf("%q can be a file's name", bad)
		}
	}
	if err := Check("0b1f2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"); err != nil {
		t.Error(err)
	}
}

func TestLives(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Identify(cmd.Process.Pid)
	if err != nil || !p.Lives() {
		t.Errorf("%+v, %v", p, err)
	}
	if (Process{PID: p.PID, Started: p.Started + 1}).Lives() || (Process{}).Lives() {
		t.Error("another of the same number lives")
	}
	_ = cmd.Process.Kill()
	for end := time.Now().Add(20 * time.Second); p.Lives(); {
		if time.Now().After(end) { // nobody has waited for it: it is a zombie
			t.Fatal("it lives")
		}
	}
	_ = cmd.Wait()
	if p.Lives() {
		t.Error("it lives")
	}
}
