package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Root makes the root of an image of one of the Sets below a folder, unless it
// is there for the versions that apt has now, and returns its path. Nothing is
// installed on this machine; without root it works as long as apt knows the
// packages already.
func Root(ctx context.Context, out io.Writer, folder, name string) (string, error) {
	set, known := Sets[name]
	if !known {
		return "", fmt.Errorf("there is no set %q of Debian's packages; there are %s", name, strings.Join(slices.Sorted(maps.Keys(Sets)), ", "))
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "", fmt.Errorf("having %s of Debian's packages: there is no apt-get: %w", name, ErrNotDebian)
	}
	root, err := set.root(ctx, out, folder, name)
	if err == nil || ctx.Err() != nil {
		return root, err
	}
	// A new machine has no lists of packages, an old one lists of what is no
	// longer served.
	fmt.Fprintf(out, "apt-get update, since: %v\n", err)
	if _, err := run(ctx, "", "apt-get", "update", "-qq"); err != nil {
		return "", fmt.Errorf("having %s of Debian's packages: %w", name, err)
	}
	return set.root(ctx, out, folder, name)
}

// ErrNotDebian: the machine has no apt.
var ErrNotDebian = errors.New("this is no Debian")

func (s Set) root(ctx context.Context, out io.Writer, folder, name string) (string, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	versions, err := s.resolve(ctx, filepath.Join(folder, "apt.bin"))
	if err != nil {
		return "", fmt.Errorf("choosing the packages of %s: %w", name, err)
	}
	root := filepath.Join(folder, name+"-"+s.key(versions))
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	fmt.Fprintf(out, "unpacking %d Debian packages of %s\n", len(versions), name)
	if err := s.unpack(ctx, versions, root); err != nil {
		return "", fmt.Errorf("unpacking the packages of %s: %w", name, err)
	}
	return root, nil
}

// resolve chooses the packages that are needed. What apt works out of its lists
// is kept at index, without which each question takes a second.
func (s Set) resolve(ctx context.Context, index string) ([]version, error) {
	cache := []string{"-o", "Dir::Cache::pkgcache=" + index, "-o", "Dir::Cache::srcpkgcache="}
	said, err := run(ctx, "", "apt-cache", slices.Concat(cache, []string{
		"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances",
	}, s.Packages)...)
	if err != nil {
		return nil, err
	}
	names := s.choose(parseNeeds(said))
	if said, err = run(ctx, "", "apt-cache", slices.Concat(cache, []string{"show", "--no-all-versions"}, names)...); err != nil {
		return nil, err
	}
	versions := parseVersions(said)
	if len(versions) != len(names) {
		return nil, fmt.Errorf("apt knows %d of %d packages", len(versions), len(names))
	}
	return versions, nil
}

// unpack downloads packages and unpacks them at root, all or nothing: others may
// do the same at the same time.
func (s Set) unpack(ctx context.Context, versions []version, root string) error {
	scratch, err := os.MkdirTemp(filepath.Dir(root), ".unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	archives, tree := filepath.Join(scratch, "archives"), filepath.Join(scratch, "root")
	for _, folder := range []string{archives, tree} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	args := []string{"download", "-qq", "-o", "APT::Sandbox::User=root"}
	for _, v := range versions {
		args = append(args, v.name+"="+v.version)
	}
	if _, err := run(ctx, archives, "apt-get", args...); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return err
	}
	if len(packages) != len(versions) {
		return fmt.Errorf("%d of %d packages were downloaded", len(packages), len(versions))
	}
	for _, archive := range packages {
		if _, err := run(ctx, "", "dpkg-deb", "--extract", archive, tree); err != nil {
			return err
		}
	}
	if err := s.trim(tree); err != nil {
		return err
	}
	if err := os.Rename(tree, root); err != nil {
		if _, there := os.Stat(root); there != nil {
			return err
		}
	}
	return nil
}

// trim takes away what is not used, and makes the links.
func (s Set) trim(tree string) error {
	for _, pattern := range unused {
		found, err := filepath.Glob(filepath.Join(tree, pattern))
		if err != nil {
			return err
		}
		for _, one := range found {
			if err := os.RemoveAll(one); err != nil {
				return err
			}
		}
	}
	for link, pattern := range s.Links {
		found, err := filepath.Glob(filepath.Join(tree, pattern))
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return fmt.Errorf("%s is %d paths, not one", pattern, len(found))
		}
		to, err := filepath.Rel(filepath.Join(tree, filepath.Dir(link)), found[0])
		if err != nil {
			return err
		}
		if err := os.Symlink(to, filepath.Join(tree, link)); err != nil {
			return err
		}
	}
	return nil
}

// run gives what a program says on its standard output.
func run(ctx context.Context, folder, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	said, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil, fmt.Errorf("%s %s: %w: %s", program, args[0], err, strings.TrimSpace(string(exit.Stderr)))
		}
		return nil, fmt.Errorf("%s %s: %w", program, args[0], err)
	}
	return said, nil
}
