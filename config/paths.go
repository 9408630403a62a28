package config

import (
	"os"
	"path/filepath"
	"strings"
)

// path is one of this machine's that a key says: "~" at its beginning and variables
// are spelt out, and in a file it is relative to that file's base.
func (l *loading) path(key, path, file string) string {
	unset := ""
	path = os.Expand(home(path, l.environ), func(name string) string {
		value, ok := l.environ(name)
		if !ok {
			unset = name
		}
		return value
	})
	if unset != "" {
		l.problems = append(l.problems, l.locate(problem("set it, or write the path out", "%s is taken from $%s, and that variable is not set", key, unset).about(key)))
	}
	if path == "" || filepath.IsAbs(path) || l.layers[key] != inFile {
		return path
	}
	return filepath.Join(l.base(file), path)
}

// base is the directory that the paths of a file are relative to, as seen from the
// working directory: for one in a folder of its own, .understudy or .mirrord, what
// that folder is in, so that it says the same from wherever below the file is found;
// for another the working directory, as the other tool has it.
func (l *loading) base(file string) string {
	if !filepath.IsAbs(file) {
		file = filepath.Join(l.dir, file)
	}
	folder := filepath.Dir(file)
	if name := filepath.Base(folder); name != ".understudy" && name != ".mirrord" {
		return ""
	}
	base := filepath.Dir(folder)
	if relative, err := filepath.Rel(l.dir, base); err == nil {
		return relative
	}
	return base
}

// home is a path whose "~" at the beginning is spelt out.
func home(path string, environ func(string) (string, bool)) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, _ := environ("HOME"); home != "" {
			return filepath.Join(home, rest)
		}
	}
	return path
}
