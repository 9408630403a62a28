package build

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"golang.org/x/mod/modfile"
)

// requirements is the version of each module that go.mod asks for, after its
// replacements.
type requirements map[string]string

func readRequirements(folder string) (requirements, error) {
	path := filepath.Join(folder, "go.mod")
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading requirements: %w", err)
	}
	file, err := modfile.Parse(path, content, nil)
	if err != nil {
		return nil, fmt.Errorf("reading requirements: %w", err)
	}
	versions := requirements{}
	for _, require := range file.Require {
		versions[require.Mod.Path] = require.Mod.Version
	}
	for _, replace := range file.Replace {
		if _, required := versions[replace.Old.Path]; required {
			versions[replace.Old.Path] = replace.New.Version
		}
	}
	return versions, nil
}

// version returns that of the module that holds a package, empty for this one.
func (r requirements) version(pkg string) string {
	longest := ""
	for path := range r {
		if (pkg == path || strings.HasPrefix(pkg, path+"/")) && len(path) > len(longest) {
			longest = path
		}
	}
	return r[longest]
}

// metBy says whether a built program was made of exactly the module versions that
// are required now. The program itself knows: the linker wrote them into it.
func (r requirements) metBy(path string) bool {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return false
	}
	return r.met(info.Deps)
}

func (r requirements) met(dependencies []*debug.Module) bool {
	for _, dependency := range dependencies {
		version := dependency.Version
		if dependency.Replace != nil {
			version = dependency.Replace.Version
		}
		if r[dependency.Path] != version {
			return false
		}
	}
	return true
}

// key names the folder of a built program by all that decides what it is, but
// for the versions of its dependencies, which metBy looks at.
func key(program Program, version, sources, goVersion, arch string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{
		program.Package, program.linkerFlags(version), sources, goVersion, arch,
	}, program.compilerFlags()...), "\x00")))
	if version == "" {
		version = "own"
	}
	return version + "-" + hex.EncodeToString(sum[:6])
}

// sourcesOf digests the files of a program of this module; it is the checksum of
// a module that a program is built in, and empty for others, which are known by
// their version.
func sourcesOf(folder string, program Program) (string, error) {
	if program.Module != nil {
		return program.Module.Sum + " " + program.Module.Files + " " + program.Module.Variant, nil
	}
	relative, own := strings.CutPrefix(program.Package, module+"/")
	if !own {
		return "", nil
	}
	sum := sha256.New()
	err := filepath.WalkDir(filepath.Join(folder, relative), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n", filepath.Base(path), len(content))
		sum.Write(content)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("reading the sources of %s: %w", program.Name, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
