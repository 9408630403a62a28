package boundary

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"understudy.dev/understudy/cli/stage/view"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// podFiles are a pod's: paths to nothing, folders with a "/" at their end.
type podFiles map[string]bool

func podWith(paths ...string) podFiles {
	files := podFiles{"/": true}
	for _, path := range paths {
		files[strings.TrimSuffix(path, "/")] = strings.HasSuffix(path, "/")
		for above := filepath.Dir(strings.TrimSuffix(path, "/")); above != "/"; above = filepath.Dir(above) {
			files[above] = true
		}
	}
	return files
}

func (p podFiles) Look(_ context.Context, path string) (tunnel.FileInfo, error) {
	folder, ok := p[path]
	if !ok {
		return tunnel.FileInfo{}, os.ErrNotExist
	}
	return tunnel.FileInfo{Mode: map[bool]uint32{true: typeFolder, false: typeFile}[folder] | 0o755}, nil
}

func (p podFiles) List(ctx context.Context, path string) ([]tunnel.Entry, error) {
	if folder, ok := p[path]; !ok || !folder {
		return nil, os.ErrNotExist
	}
	var entries []tunnel.Entry
	for name := range p {
		if name != path && filepath.Dir(name) == path {
			info, _ := p.Look(ctx, name)
			entries = append(entries, tunnel.Entry{Name: []byte(filepath.Base(name)), FileInfo: info})
		}
	}
	return entries, nil
}

func (podFiles) OpenFile(context.Context, string) (view.File, error) {
	return nil, errors.ErrUnsupported
}
func (podFiles) Space(context.Context, string) (tunnel.Space, error) { return tunnel.Space{}, nil }

// own is a line whose user works in /no-such-work/project and lives in /home/ada.
func filesLine(t *testing.T, files config.Files) *Boundary {
	t.Helper()
	b, err := New(&config.Config{Target: "deployment/a", Takeover: config.TakeoverCopy, Hostname: true, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	b.here.viewable = func() error { return nil }
	b.own = []string{"/home/ada", "/no-such-work/project"}
	return b
}

func TestShown(t *testing.T) {
	pod := podWith("/app/data/x", "/usr/bin/x", "/etc/app/a", "/etc/app.conf", "/etc/hosts", "/etc/passwd", "/var/lib/no-such-app/x", "/var/tmp/x", "/no-such.jar",
		"/no-such-work/project/x", "/no-such-work/other/x", "/srv/no-such/x", "/proc/1/x", "/home/ada/x", "/home/no-such/x", "/tmp/x")
	here := t.TempDir()
	secret := filepath.Join(here, "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		files   config.Files
		shown   []string
		hidden  []string
		bound   string
		notices int
	}{
		"read": {
			files: config.Files{Mode: config.FilesRead},
			shown: []string{"/app", "/no-such-work", "/no-such.jar", "/srv/no-such", "/var/lib/no-such-app"},
		},
		"write": {
			files: config.Files{Mode: config.FilesWrite},
			shown: []string{"/app", "/no-such-work", "/no-such.jar", "/srv/no-such", "/var/lib/no-such-app"},
		},
		"written by name":  {files: config.Files{Mode: config.FilesLocalWithOverrides, ReadWrite: []string{"^/app/data/", "^/etc/app/"}}, shown: []string{"/app/data", "/etc/app"}},
		"local":            {files: config.Files{Mode: config.FilesLocal, ReadOnly: []string{"^/app"}}},
		"with overrides":   {files: config.Files{Mode: config.FilesLocalWithOverrides, ReadOnly: []string{"^/app/data/.*", "/etc/app/"}}, shown: []string{"/app/data", "/etc/app"}},
		"a single file":    {files: config.Files{Mode: config.FilesLocalWithOverrides, ReadOnly: []string{`^/etc/app\.conf$`}}, shown: []string{"/etc/app.conf"}},
		"names that begin": {files: config.Files{Mode: config.FilesLocalWithOverrides, ReadOnly: []string{"^/etc/ap"}}, shown: []string{"/etc/app", "/etc/app.conf"}},
		"all of the system's": {
			files: config.Files{Mode: config.FilesLocalWithOverrides, ReadOnly: []string{"^/etc/.*"}},
			shown: []string{"/etc/app", "/etc/app.conf"},
		},
		"what programs run on": {files: config.Files{Mode: config.FilesLocalWithOverrides, ReadOnly: []string{"^/usr/.*"}}},
		"no path":              {files: config.Files{Mode: config.FilesLocalWithOverrides, ReadOnly: []string{`\.json$`}}, notices: 1},
		"this machine's by name": {
			files: config.Files{Mode: config.FilesRead, Local: []string{"^/app", "^/no-such"}},
			shown: []string{"/srv/no-such", "/var/lib/no-such-app"},
		},
		"mapped to the pod's":    {files: config.Files{Mode: config.FilesLocalWithOverrides, ReadOnly: []string{"^/app/"}, Mapping: map[string]string{"^/no-such-in/(.*)": "/app/data/$1"}}, shown: []string{"/app", "/no-such-in"}},
		"mapped to this machine": {files: config.Files{Mode: config.FilesLocalWithOverrides, Mapping: map[string]string{"/no-such/www": here}}, bound: "/no-such/www"},
		"hidden":                 {files: config.Files{Mode: config.FilesLocalWithOverrides, NotFound: []string{"^" + secret + "$", "^/usr", "^/app/x"}}, hidden: []string{secret}, notices: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := filesLine(t, test.files)
			got, notices, err := b.Files(t.Context(), tunnel.Welcome{RemoteFiles: true, WritesFiles: true}, writtenFiles{podFiles: pod})
			if err != nil {
				t.Fatal(err)
			}
			var shown []string
			for _, path := range got.Shown {
				shown = append(shown, path.Path)
			}
			slices.Sort(shown)
			if diff := cmp.Diff(test.shown, shown); diff != "" {
				t.Errorf("shown (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.hidden, got.Hidden); diff != "" {
				t.Errorf("hidden (-want +got)\n%s", diff)
			}
			if len(notices) != test.notices {
				t.Errorf("notices %q", notices)
			}
			if test.bound != "" && (len(got.Bound) != 1 || got.Bound[0].To != test.bound || got.Bound[0].From != here) {
				t.Errorf("bound %+v", got.Bound)
			}
		})
	}
}

// writtenFiles are a pod's that can be changed.
type writtenFiles struct {
	podFiles
	view.Writer
}

// What may be written, by mode and by name.
func TestWritable(t *testing.T) {
	pod := writtenFiles{podFiles: podWith("/app/data/x", "/app/conf/x")}
	for name, test := range map[string]struct {
		files config.Files
		want  string
	}{
		"read":       {config.Files{Mode: config.FilesRead}, ""},
		"write":      {config.Files{Mode: config.FilesWrite}, "/app /app/data /app/data/x /app/conf/x"},
		"but":        {config.Files{Mode: config.FilesWrite, ReadOnly: []string{"^/app/conf/"}}, "/app /app/data /app/data/x"},
		"named":      {config.Files{Mode: config.FilesRead, ReadWrite: []string{"^/app/data/"}}, "/app/data /app/data/x"},
		"overridden": {config.Files{Mode: config.FilesLocalWithOverrides, ReadWrite: []string{"^/app/data/"}}, "/app/data /app/data/x"},
		"both":       {config.Files{Mode: config.FilesRead, ReadWrite: []string{"^/app/"}, ReadOnly: []string{"^/app/conf/"}}, "/app /app/data /app/data/x /app/conf/x"},
		"any case":   {config.Files{Mode: config.FilesWrite, ReadOnly: []string{"^/APP/Conf/|^/APP/DATA$"}}, "/app /app/data/x"},
		"local":      {config.Files{Mode: config.FilesLocal, ReadWrite: []string{"^/app/data/"}}, ""},
	} {
		got, notices, err := filesLine(t, test.files).Files(t.Context(), tunnel.Welcome{RemoteFiles: true, WritesFiles: true}, pod)
		if err != nil || len(notices) > 0 {
			t.Errorf("%s: %q, %v", name, notices, err)
		}
		var written []string
		for _, path := range []string{"/app", "/app/data", "/app/data/x", "/app/conf/x"} {
			if got.Line.Writable != nil && got.Line.Writable(path) && got.Writer != nil {
				written = append(written, path)
			}
		}
		if strings.Join(written, " ") != test.want {
			t.Errorf("%s: %q may be written", name, written)
		}
		// An older agent is said to be so where it is asked for what it cannot do.
		got, notices, err = filesLine(t, test.files).Files(t.Context(), tunnel.Welcome{RemoteFiles: true}, pod)
		if err != nil || (len(notices) == 1) != (test.want != "") || got.Writer != nil || got.Line.Writable != nil {
			t.Errorf("%s, of an older agent: %q, %v", name, notices, err)
		}
	}
}

// A folder in which the user works is divided, and never shown as a whole.
func TestDivided(t *testing.T) {
	s := &survey{b: filesLine(t, config.Files{Mode: config.FilesRead})}
	for path, want := range map[string]bool{"/no-such-work": true, "/home": true, "/": true, "/var": true, "/app": false, "/no-such-work/other": false, "/var/www": false} {
		if s.divided(path) != want {
			t.Errorf("%s is divided: %t", path, !want)
		}
	}
}

func TestWhose(t *testing.T) {
	b := filesLine(t, config.Files{
		Mode: config.FilesRead, ReadOnly: []string{"^/etc/app/"}, Local: []string{`\.local$`}, NotFound: []string{"/hidden$"},
		Mapping: map[string]string{"^/in/(.*)": "/app/data/$1", "^/gone": "/app/hidden"},
	})
	for path, want := range map[string]struct {
		at    string
		place view.Place
	}{
		"/app/x": {"/app/x", view.Pod}, "/etc/app/x": {"/etc/app/x", view.Pod}, "/etc/x": {"/etc/x", view.Here}, "/app/x.local": {"/app/x.local", view.Here},
		"/etc/app/x.local": {"/etc/app/x.local", view.Pod}, "/app/hidden": {"/app/hidden", view.Nowhere}, "/in/x": {"/app/data/x", view.Pod},
		"/in": {"/app/data", view.Pod}, "/gone": {"/app/hidden", view.Nowhere}, "/home/ada/x": {"/home/ada/x", view.Here}, "/libx": {"/libx", view.Pod},
		"/app/X.LOCAL": {"/app/X.LOCAL", view.Here}, "/etc/APP/x": {"/etc/APP/x", view.Pod}, "/app/Hidden": {"/app/Hidden", view.Nowhere}, "/IN/x": {"/IN/x", view.Pod},
		"/etc/hosts": {"/etc/hosts", view.Here}, "/no-such-work/project/x": {"/no-such-work/project/x", view.Here},
	} {
		if at, place := b.whose(path); at != want.at || place != want.place {
			t.Errorf("%s is %s of %v", path, at, place)
		}
	}
}

func TestBeginning(t *testing.T) {
	for expression, want := range map[string]struct {
		literal string
		whole   bool
	}{
		"^/app/.*": {"/app/", false}, "/app": {"/app", true}, `^/app\.conf$`: {"/app.conf", true}, `.*\.json`: {"", false}, "^/a(b|c)": {"/a", false},
		"(?i)^/app": {"", false}, "": {"", false}, "^/app|^/data": {"", false},
	} {
		if literal, whole := beginning(expression); literal != want.literal || whole != want.whole {
			t.Errorf("%q begins with %q, %t", expression, literal, whole)
		}
	}
}

// An agent that cannot read files is said to be so, once, and nothing is asked.
func TestNoRemoteFiles(t *testing.T) {
	got, notices, err := filesLine(t, config.Files{Mode: config.FilesRead}).Files(t.Context(), tunnel.Welcome{}, nil)
	if err != nil || len(notices) != 1 || got.Pod != nil {
		t.Errorf("%+v, %q, %v", got, notices, err)
	}
	b := filesLine(t, config.Files{Mode: config.FilesRead})
	b.here.viewable = func() error { return os.ErrPermission }
	got, notices, err = b.Files(t.Context(), tunnel.Welcome{RemoteFiles: true}, nil)
	if err != nil || len(notices) != 1 || got.Pod != nil {
		t.Errorf("where they cannot be shown: %+v, %q, %v", got, notices, err)
	}
}
