package config

import (
	"errors"
	"io/fs"
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

// missing are the files that are named and not there, which would end a run later.
func (l *loading) missing(c *Config) (found Problems) {
	for _, of := range []struct{ key, path string }{{"kubeconfig", c.Kubeconfig}, {"feature.env.env_file", c.Env.File}} {
		at := of.path
		if !filepath.IsAbs(at) {
			at = filepath.Join(l.dir, at)
		}
		switch info, err := os.Stat(at); {
		case of.path == "":
		case errors.Is(err, fs.ErrNotExist):
			found = append(found, l.locate(problem("", "there is no file %s, which %s names", of.path, l.named(of.key)).about(of.key)))
		case err == nil && info.IsDir():
			found = append(found, l.locate(problem("", "%s, which %s names, is a folder", of.path, l.named(of.key)).about(of.key)))
		}
	}
	return found
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
