package debian

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Set is a real program of Debian's, made to be the root of an image: its
// packages and what they need to run, as far as a container needs it.
type Set struct {
	// Packages that are wanted.
	Packages []string
	// Without are packages that are not taken, nor what only they need: what
	// installs, rotates logs, makes users.
	Without []string
	// Links are names for what Debian has under its version, so that nobody who
	// starts it has to know that: the link's path to the pattern of the one path
	// that it leads to.
	Links map[string]string
}

// Sets can be asked for by name.
var Sets = map[string]Set{
	"rabbitmq": {
		Packages: []string{"rabbitmq-server"},
		Without:  slices.Concat(keepers, []string{"erlang-snmp", "logrotate", "openssl", "procps", "python3", "socat"}),
		Links: map[string]string{
			"usr/lib/erlang/erts":     "usr/lib/erlang/erts-*",
			"usr/lib/rabbitmq/server": "usr/lib/rabbitmq/lib/rabbitmq_server-*",
		},
	},
	"redis": {
		Packages: []string{"redis-server"},
		Without:  keepers,
	},
}

// keepers keep a machine, and a container has none to keep.
var keepers = []string{"adduser", "debconf", "gcc-12-base", "init-system-helpers", "lsb-base", "sysvinit-utils", "systemd"}

// unused is what no program of a set reads.
var unused = []string{
	"etc/cron.*", "etc/init.d", "etc/logrotate.d", "lib/systemd",
	"usr/share/bash-completion", "usr/share/doc", "usr/share/gcc", "usr/share/gdb", "usr/share/lintian", "usr/share/locale", "usr/share/man",
	"usr/lib/*/gconv", "usr/lib/*/perl*",
}

// need is one dependency of a package: any of the names will do, the first is
// taken.
type need []string

// parseNeeds reads what `apt-cache depends` says of packages. A name in angle
// brackets is no package: who provides it stands indented below.
func parseNeeds(said []byte) map[string][]need {
	needs := map[string][]need{}
	var of string
	var open, provided need // alternatives, of which more may come
	flush := func() {
		if all := slices.Concat(open, provided); len(all) > 0 {
			needs[of] = append(needs[of], all)
		}
		open, provided = nil, nil
	}
	more := false
	for lines := bufio.NewScanner(bytes.NewReader(said)); lines.Scan(); {
		line := lines.Text()
		kind, name, found := strings.Cut(line, "Depends: ")
		switch {
		case found && slices.Contains([]string{"", "Pre"}, strings.TrimLeft(kind, " |")):
			if !more {
				flush()
			}
			more = strings.HasPrefix(line, " |")
			if strings.HasPrefix(name, "<") {
				provided = append(provided, bare(name))
			} else {
				open = append(open, bare(name))
			}
		case strings.HasPrefix(line, "    "):
			open = append(open, bare(strings.TrimSpace(line)))
		case line != "" && line[0] != ' ':
			flush()
			of, more = bare(line), false
			needs[of] = nil
		}
	}
	flush()
	return needs
}

// choose follows the needs of the set's packages. A need is settled by any
// alternative that is taken, or left out.
func (s Set) choose(needs map[string][]need) []string {
	var taken []string
	for next := slices.Clone(s.Packages); len(next) > 0; next = next[1:] {
		if slices.Contains(taken, next[0]) {
			continue
		}
		taken = append(taken, next[0])
		for _, any := range needs[next[0]] {
			settled := slices.ContainsFunc(any, func(one string) bool {
				return slices.Contains(taken, one) || slices.Contains(s.Without, one)
			})
			if !settled {
				next = append(next, any[0])
			}
		}
	}
	slices.Sort(taken)
	return taken
}

// bare is a package's name without what apt says around it: <python3:any>.
func bare(name string) string {
	name, _, _ = strings.Cut(strings.Trim(name, "<>"), ":")
	return name
}

// version is one package, as exactly as it can be asked for.
type version struct{ name, version string }

// parseVersions reads what `apt-cache show` says of packages.
func parseVersions(said []byte) []version {
	var all []version
	for lines := bufio.NewScanner(bytes.NewReader(said)); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "Package: "); ok {
			all = append(all, version{name: name})
		}
		if v, ok := strings.CutPrefix(lines.Text(), "Version: "); ok && len(all) > 0 {
			all[len(all)-1].version = v
		}
	}
	slices.SortFunc(all, func(a, b version) int { return strings.Compare(a.name, b.name) })
	return all
}

// key names the folder of the set with these versions: another version of a
// package, or of what is made of them, is another folder.
func (s Set) key(versions []version) string {
	sum := sha256.New()
	for _, v := range versions {
		fmt.Fprintf(sum, "%s=%s\n", v.name, v.version)
	}
	fmt.Fprintln(sum, unused, s.Links)
	return hex.EncodeToString(sum.Sum(nil))[:12]
}
