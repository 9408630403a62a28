package source

import (
	"os"
	"path/filepath"
	"strings"
)

// Extensions of the files that are looked for, the first that is there counts.
var Extensions = []string{".json", ".jsonc", ".yaml", ".yml", ".toml"}

// places that are looked at in each directory.
var places = []string{".understudy/understudy", ".mirrord/mirrord"}

// Passed is what has a configuration file's name and is none.
type Passed struct {
	Path string
	// Empty: it is a file without a byte, as a shell makes it for what is to be
	// written there. Else it is a folder.
	Empty bool
}

// Find looks for a configuration file in a directory and, in a git repository,
// in those above it up to the repository's root. The nearest directory counts,
// and in it understudy's own file. It is empty where there is none. What has
// the name of such a file and cannot be one is passed over, and told.
func Find(dir string) (file string, passed []Passed) {
	above := []string{dir}
	for at := dir; !exists(filepath.Join(at, ".git")); above = append(above, at) {
		parent := filepath.Dir(at)
		if parent == at { // no repository: nobody else's files are meant
			above = above[:1]
			break
		}
		at = parent
	}
	for _, at := range above {
		for _, place := range places {
			for _, extension := range Extensions {
				path := filepath.Join(at, place+extension)
				switch info, err := os.Stat(path); {
				case err != nil:
				case info.IsDir(), info.Mode().IsRegular() && info.Size() == 0:
					passed = append(passed, Passed{Path: path, Empty: !info.IsDir()})
				default:
					return path, passed
				}
			}
		}
	}
	return "", passed
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Branch is the branch that is checked out in a directory or above it; empty
// where there is none.
func Branch(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if head, err := Read(filepath.Join(gitDir(at), "HEAD"), false); err == nil {
			return branchOf(string(head))
		}
		if filepath.Dir(at) == at {
			return ""
		}
	}
}

// gitDir is where git keeps its things for a directory: .git itself, or what
// that names as a file, in a work tree or a submodule.
func gitDir(dir string) string {
	dotgit := filepath.Join(dir, ".git")
	text, err := Read(dotgit, false)
	if err != nil {
		return dotgit
	}
	to, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
	switch {
	case !ok:
		return dotgit
	case filepath.IsAbs(to):
		return to
	}
	return filepath.Join(dir, to)
}

func branchOf(head string) string {
	branch, ok := strings.CutPrefix(strings.TrimSpace(head), "ref: refs/heads/")
	if !ok {
		return "" // a commit, not a branch
	}
	return branch
}
