package root

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// identity is what a process may do, as its node sees it.
type identity struct {
	// uid and gid are those that files are reached with.
	uid, gid int
	groups   []int
	// caps are the effective capabilities, a bit each. Those of a process in
	// another user namespace are worth nothing outside of it.
	caps uint64
}

// inOurs says whether a process, by its folder in /proc, is in our user namespace.
// The capabilities of one that is not must not be taken: ours are good for all of
// the node. They cannot be had where they are worth something either: a program
// of several threads, as each of Go's is, may not join a user namespace.
func inOurs(proc string) (bool, error) {
	var ours, theirs unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &ours); errors.Is(err, unix.ENOENT) {
		return true, nil // a kernel without them
	} else if err != nil {
		return false, fmt.Errorf("looking at our user namespace: %w", err)
	}
	if err := unix.Stat(proc+"/ns/user", &theirs); err != nil {
		return false, fmt.Errorf("looking at the process's user namespace: %w", ended(err))
	}
	return ours.Dev == theirs.Dev && ours.Ino == theirs.Ino, nil
}

// identityOf reads a process's from the status file of /proc.
func identityOf(path string) (identity, error) {
	file, err := os.Open(path)
	if err != nil {
		return identity{}, err
	}
	defer file.Close()
	id, found := identity{}, 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(value)
		switch key {
		case "Uid", "Gid":
			// Real, effective, saved, and the one for files.
			if len(fields) != 4 {
				return identity{}, fmt.Errorf("%s: line %q", path, lines.Text())
			}
			n, err := strconv.Atoi(fields[3])
			if err != nil {
				return identity{}, fmt.Errorf("%s: line %q: %w", path, lines.Text(), err)
			}
			if key == "Uid" {
				id.uid = n
			} else {
				id.gid = n
			}
			found++
		case "Groups":
			for _, field := range fields {
				n, err := strconv.Atoi(field)
				if err != nil {
					return identity{}, fmt.Errorf("%s: line %q: %w", path, lines.Text(), err)
				}
				id.groups = append(id.groups, n)
			}
			found++
		case "CapEff":
			if id.caps, err = strconv.ParseUint(strings.TrimSpace(value), 16, 64); err != nil {
				return identity{}, fmt.Errorf("%s: line %q: %w", path, lines.Text(), err)
			}
			found++
		}
	}
	if err := lines.Err(); err != nil {
		return identity{}, err
	}
	if found != 4 {
		return identity{}, fmt.Errorf("%s does not say who the process is", path)
	}
	return id, nil
}
