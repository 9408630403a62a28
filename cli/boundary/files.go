package boundary

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/cli/stage/view"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// mapping has a path of the command's lead to another.
type mapping struct {
	from *regexp.Regexp
	to   string
}

// Types of files in a mode, as on Linux.
const (
	typeBits   = 0o170000
	typeFolder = 0o040000
	typeFile   = 0o100000
)

// maxShown paths: each is a mount.
const maxShown = 64

// whose is whose a path is, and what it is called there.
func (b *Boundary) whose(name string) (string, view.Place) {
	at := b.mapped(name)
	matches := func(list []*regexp.Regexp) bool {
		return slices.ContainsFunc(list, func(e *regexp.Regexp) bool { return e.MatchString(at) })
	}
	switch {
	case b.files.Mode == config.FilesLocal:
		return at, view.Here
	case matches(b.notFound):
		return at, view.Nowhere
	case slices.Contains(ownNames, at), below(at, corePaths):
		return at, view.Here
	case matches(b.readWrite), matches(b.readOnly):
		return at, view.Pod
	case b.files.Mode == config.FilesLocalWithOverrides, matches(b.localFiles), below(at, systemPaths), below(at, b.own):
		return at, view.Here
	}
	return at, view.Pod
}

// writes says whether anything of the pod's may be written.
func (b *Boundary) writes() bool {
	return b.files.Mode == config.FilesWrite || b.files.Mode != config.FilesLocal && len(b.readWrite) > 0
}

// writable says whether a path that is the pod's may be written. A folder's own
// path may match as what it has in it does.
func (b *Boundary) writable(name string) bool {
	at := b.mapped(name)
	matches := func(list []*regexp.Regexp) bool {
		return slices.ContainsFunc(list, func(e *regexp.Regexp) bool { return e.MatchString(at) || e.MatchString(at+"/") })
	}
	return matches(b.readWrite) || b.files.Mode == config.FilesWrite && !matches(b.readOnly)
}

// mapped is what a path is led to. A folder's own path may match as what it has
// in it does.
func (b *Boundary) mapped(name string) string {
	for _, m := range b.mappings {
		if m.from.MatchString(name) {
			return path.Clean(m.from.ReplaceAllString(name, m.to))
		}
		if m.from.MatchString(name + "/") {
			return path.Clean(m.from.ReplaceAllString(name+"/", m.to))
		}
	}
	return name
}

func below(name string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return within(name, p) })
}

func within(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, strings.TrimSuffix(folder, "/")+"/")
}

// Files is what the stage shows of the pod's files, and notices of what it cannot
// show. The pod is asked what there is.
func (b *Boundary) Files(ctx context.Context, welcome tunnel.Welcome, pod view.Files) (stage.Files, []string, error) {
	if b.files.Mode == config.FilesLocal {
		return stage.Files{}, nil, nil
	}
	if b.files.Mode == config.FilesLocalWithOverrides && len(b.readOnly)+len(b.readWrite)+len(b.mappings)+len(b.notFound) == 0 {
		return stage.Files{}, nil, nil
	}
	if !welcome.RemoteFiles {
		return stage.Files{}, []string{"the agent reads no files but config maps, secrets and tokens: it is older than this understudy, or runs in a sandbox that cannot"}, nil
	}
	if err := b.here.viewable(); err != nil {
		return stage.Files{}, []string{fmt.Sprintf(
			"the pod's files cannot be read, but for its config maps, secrets and tokens: /dev/fuse is not open to you on this machine (%v); modprobe fuse and chmod 666 /dev/fuse change that", err)}, nil
	}
	s := &survey{b: b, ctx: ctx, pod: pod}
	s.files = stage.Files{Pod: pod, Line: view.Line{
		Place: b.whose, Mixed: len(b.readOnly)+len(b.readWrite)+len(b.localFiles)+len(b.notFound)+len(b.mappings) > 0,
	}}
	writer, able := pod.(view.Writer)
	switch {
	case !b.writes():
	case !able || !welcome.WritesFiles:
		s.notice("nothing of the pod's files can be written: its agent is older than this understudy")
	default:
		s.files.Writer, s.files.Line.Writable = writer, b.writable
	}
	if b.files.Mode == config.FilesRead || b.files.Mode == config.FilesWrite {
		if err := s.folder("/"); err != nil {
			s.notice("not all of the pod's files are here: %v", err)
		}
	}
	for _, expression := range b.files.ReadOnly {
		s.named("feature.fs.read_only", expression)
	}
	for _, expression := range b.files.ReadWrite {
		s.named("feature.fs.read_write", expression)
	}
	for _, m := range b.mappings {
		s.named("feature.fs.mapping", m.from.String())
	}
	for i, e := range b.notFound {
		s.hide(e, b.files.NotFound[i])
	}
	return s.files, s.notices, ctx.Err()
}

// survey looks for the paths that are to be shown.
type survey struct {
	b       *Boundary
	ctx     context.Context //nolint:containedctx // it lives for one call
	pod     view.Files
	files   stage.Files
	notices []string
}

func (s *survey) notice(format string, args ...any) {
	s.notices = append(s.notices, fmt.Sprintf(format, args...))
}

// divided says that a folder cannot be shown as a whole: this machine's system or
// the user's own is in it.
func (s *survey) divided(name string) bool {
	inside := func(p string) bool { return within(p, name) }
	return slices.ContainsFunc(systemPaths, inside) || slices.ContainsFunc(sharedPaths, inside) || slices.ContainsFunc(s.b.own, inside)
}

// folder shows what the pod has in a folder that is shared with this machine: of
// the root, all that is not the system's; of others, what this machine lacks.
func (s *survey) folder(name string) error {
	entries, err := s.pod.List(s.ctx, name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return err
	}
	slices.SortFunc(entries, func(a, b tunnel.Entry) int { return strings.Compare(string(a.Name), string(b.Name)) })
	for _, entry := range entries {
		at := path.Join(name, string(entry.Name))
		if _, place := s.b.whose(at); place != view.Pod {
			continue
		}
		_, err := os.Lstat(at)
		lacking := errors.Is(err, fs.ErrNotExist)
		switch {
		case entry.Mode&typeBits == typeFolder && s.divided(at) && !lacking:
			if err := s.folder(at); err != nil {
				return err
			}
		case name == "/" && entry.Mode&typeBits == typeFolder, lacking:
			s.show(at, entry.FileInfo)
		}
	}
	return nil
}

// show shows a folder or a regular file of the pod.
func (s *survey) show(at string, info tunnel.FileInfo) {
	kind := info.Mode & typeBits
	if kind != typeFolder && kind != typeFile {
		return // a link, or what cannot be read
	}
	switch {
	case slices.ContainsFunc(s.files.Shown, func(other stage.ShownPath) bool { return within(at, other.Path) }):
		return
	case len(s.files.Shown) == maxShown:
		s.notice("%s of the pod is not here, nor what comes after it: only %d paths are", at, maxShown)
	case len(s.files.Shown) < maxShown:
		s.files.Shown = slices.DeleteFunc(s.files.Shown, func(other stage.ShownPath) bool { return within(other.Path, at) })
		s.files.Shown = append(s.files.Shown, stage.ShownPath{Path: at, Root: info})
	}
}

// named shows what a regular expression names of the pod's, outside of what is
// shown already: as far as it begins with a path.
func (s *survey) named(key, expression string) {
	literal, whole := beginning(expression)
	if !strings.HasPrefix(literal, "/") {
		if s.b.files.Mode == config.FilesLocalWithOverrides {
			s.notice("%s: %q does not begin with a path (as in ^/app/), so that it names nothing", key, expression)
		}
		return
	}
	if strings.HasSuffix(literal, "/") || whole {
		s.candidate(path.Clean(literal))
	}
	if !strings.HasSuffix(literal, "/") {
		for _, name := range s.children(path.Dir(literal)) {
			if strings.HasPrefix(name, literal) {
				s.candidate(name)
			}
		}
	}
}

// children are the paths of what the pod has in a folder.
func (s *survey) children(folder string) (names []string) {
	at, _ := s.b.whose(folder)
	entries, err := s.pod.List(s.ctx, at)
	if err != nil {
		return nil // it is not there
	}
	for _, entry := range entries {
		names = append(names, path.Join(folder, string(entry.Name)))
	}
	return names
}

// candidate shows a path that an expression names, or what is in it, where it
// cannot be shown as a whole.
func (s *survey) candidate(name string) {
	at, place := s.b.whose(name)
	if place == view.Here && at != name {
		// Led to another path of this machine.
		bound := stage.Bound{From: at, To: name}
		if _, err := os.Stat(at); err == nil && !s.divided(name) && !below(name, corePaths) && !slices.Contains(s.files.Bound, bound) {
			s.files.Bound = append(s.files.Bound, bound)
		}
		return
	}
	info, err := s.pod.Look(s.ctx, at)
	if err != nil || place == view.Nowhere || below(name, corePaths) {
		return
	}
	folder := info.Mode&typeBits == typeFolder
	switch {
	case folder && s.divided(name) && name != "/":
		for _, child := range s.children(name) {
			if _, place := s.b.whose(child); place == view.Pod {
				s.candidate(child)
			}
		}
	case folder && name != "/" || place == view.Pod && !s.divided(name):
		s.show(name, info)
	}
}

// hide hides what an expression names of this machine's, which begins as it is written.
func (s *survey) hide(expression *regexp.Regexp, written string) {
	literal, whole := beginning(written)
	if !strings.HasPrefix(literal, "/") {
		return // what is shown of the pod's is not found
	}
	names := []string{path.Clean(literal)}
	if !whole && !strings.HasSuffix(literal, "/") {
		entries, err := os.ReadDir(path.Dir(literal))
		if err != nil {
			return
		}
		names = nil
		for _, entry := range entries {
			names = append(names, path.Join(path.Dir(literal), entry.Name()))
		}
	}
	for _, name := range names {
		_, err := os.Lstat(name)
		switch matched := expression.MatchString(name) || expression.MatchString(name+"/"); {
		case err != nil || !matched || slices.ContainsFunc(s.files.Shown, func(other stage.ShownPath) bool { return within(name, other.Path) }):
		case s.divided(name):
			s.notice("feature.fs.not_found: %s stays: this machine's system, or your own files, are in it", name)
		case len(s.files.Hidden) < maxShown:
			s.files.Hidden = append(s.files.Hidden, name)
		}
	}
}

// beginning is the text that all begins with what an expression matches, where it
// is tied to a path's beginning, and whether the expression says no more than
// that.
func beginning(expression string) (literal string, whole bool) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return "", false
	}
	parts := []*syntax.Regexp{parsed}
	if parsed.Op == syntax.OpConcat {
		parts = parsed.Sub
	}
	for i, part := range parts {
		switch {
		case part.Op == syntax.OpBeginText || part.Op == syntax.OpBeginLine || part.Op == syntax.OpEmptyMatch:
		case part.Op == syntax.OpEndText && i == len(parts)-1:
		case part.Op == syntax.OpLiteral && part.Flags&syntax.FoldCase == 0:
			literal += string(part.Rune)
		default:
			return literal, false
		}
	}
	return literal, literal != ""
}

// ownPaths are this user's: home and working directory with the repository that
// it is in, the programs that are found, and where temporary files go. A folder
// that holds all is none.
func ownPaths() []string {
	var paths []string
	add := func(name string) {
		for _, name := range []string{name, resolved(name)} {
			if name = filepath.Clean(name); filepath.IsAbs(name) && name != "/" && !slices.Contains(paths, name) {
				paths = append(paths, name)
			}
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		add(home)
	}
	add(os.TempDir())
	if dir, err := os.Getwd(); err == nil {
		add(dir)
		for above := dir; above != "/" && above != "."; above = filepath.Dir(above) {
			if _, err := os.Stat(filepath.Join(above, ".git")); err == nil {
				add(above)
				break
			}
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		add(dir)
	}
	if own, err := os.Executable(); err == nil {
		add(filepath.Dir(own))
	}
	return paths
}

func resolved(name string) string {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		return real
	}
	return name
}

// mappings in the order of their expressions.
func mappings(from map[string]string) ([]mapping, error) {
	var list []mapping
	for _, pattern := range slices.Sorted(maps.Keys(from)) {
		expressions, err := expressions([]string{pattern})
		if err != nil {
			return nil, err
		}
		list = append(list, mapping{expressions[0], from[pattern]})
	}
	return list, nil
}
