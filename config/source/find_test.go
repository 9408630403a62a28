package source

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFind(t *testing.T) {
	repo := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(repo, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	find := func(dir, want string) {
		t.Helper()
		if want != "" {
			want = filepath.Join(repo, want)
		}
		if got, _ := Find(filepath.Join(repo, dir)); got != want {
			t.Errorf("in %q: %q, want %q", dir, got, want)
		}
	}
	write("a/b/x", "")
	find("a/b", "")
	write("a/.mirrord/mirrord.json", "{}")
	find("a/b", "") // no repository: files above are somebody else's
	find("a", "a/.mirrord/mirrord.json")
	write(".git/HEAD", "ref: refs/heads/main\n")
	find("a/b", "a/.mirrord/mirrord.json")
	write(".understudy/understudy.toml", "wait = true\n")
	find("a/b", "a/.mirrord/mirrord.json") // the nearer directory
	write("a/.understudy/understudy.yaml", "wait: true\n")
	find("a/b", "a/.understudy/understudy.yaml")
	find("", ".understudy/understudy.toml")
	// A folder of such a name is no file, and an empty file says nothing: both are named.
	write("a/b/.understudy/understudy.json/x", "")
	write("a/b/.mirrord/mirrord.json", "")
	find("a/b", "a/.understudy/understudy.yaml")
	_, passed := Find(filepath.Join(repo, "a/b"))
	want := []Passed{{Path: filepath.Join(repo, "a/b/.understudy/understudy.json")}, {Path: filepath.Join(repo, "a/b/.mirrord/mirrord.json"), Empty: true}}
	if !slices.Equal(passed, want) {
		t.Errorf("passed over %v, want %v", passed, want)
	}

	if got := Branch(filepath.Join(repo, "a/b")); got != "main" {
		t.Errorf("branch %q", got)
	}
	write(".git/HEAD", "0123456789abcdef\n")
	if got := Branch(repo); got != "" {
		t.Errorf("branch %q of a detached head", got)
	}
	write("tree/.git", "gitdir: ../.git/worktrees/tree\n")
	write(".git/worktrees/tree/HEAD", "ref: refs/heads/topic/one\n")
	if got := Branch(filepath.Join(repo, "tree")); got != "topic/one" {
		t.Errorf("branch %q of a work tree", got)
	}
}
