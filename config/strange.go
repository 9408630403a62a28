package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"understudy.dev/understudy/config/decision"
)

// othersVariables are not for a person to set: what a cluster gives to its pods for a
// Service, what the other tool and its editors' plugins give to what they start, and
// what this project's own tests are told.
var othersVariables = regexp.MustCompile(`_SERVICE_(HOST|PORT)|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?$` +
	`|^MIRRORD_(LAYER|INTPROXY|EXTPROXY|PROGRESS|EXTENSION|PLUGIN|CI|PARAM|ROSETTA|CONSOLE|INTERNAL|EXTERNAL|LOG)(_|$)` +
	`|^MIRRORD_(RESOLVED_CONFIG|BRANCH_NAME|BRANCH_ID|AGENT_ADDR|AGENT_CONNECT_INFO|CHECK_VERSION|SHARED_SOCKETS|DETECT_DEBUGGER_PORT|IGNORE_DEBUGGER_PORTS|DONT_LOAD)$` +
	`|^UNDERSTUDY_(TEST|E2E|CLUSTER)_`)

// knownVariables are all that are read.
func knownVariables() []string {
	known := []string{EnvironmentPrefix + "CONFIG_FILE"}
	for _, row := range decision.Variables {
		known = append(known, row.Name)
	}
	for _, row := range decision.OwnVariables {
		known = append(known, row.Name)
	}
	for _, row := range decision.Flags {
		if row.Verdict != decision.Meaningless {
			known = append(known, variableOf(row.Name))
		}
	}
	return known
}

// strangers are variables that are called as ours or the other tool's are, and that
// nothing reads. They may be meant for somebody else, so each is a notice.
func (l *loading) strangers() {
	known := knownVariables()
	for _, name := range slices.Sorted(slices.Values(l.variables)) {
		prefix := strings.HasPrefix(name, EnvironmentPrefix) || strings.HasPrefix(name, "MIRRORD_")
		if text, _ := l.environ(name); !prefix || text == "" || slices.Contains(known, name) || othersVariables.MatchString(name) {
			continue
		}
		notice := fmt.Sprintf("there is no variable %s", name)
		if near := nearVariable(name, known); near != "" {
			notice += ": did you mean " + near + "?"
		}
		l.notices = append(l.notices, notice)
	}
}

// nearVariable is the one that is most like a name; empty where none is.
func nearVariable(name string, known []string) (best string) {
	prefix, rest, _ := strings.Cut(name, "_")
	least := 1 + max(1, len(rest)/3)
	for _, candidate := range known {
		of, last, _ := strings.Cut(candidate, "_")
		if d := decision.Distance(rest, last); of == prefix && d < least {
			best, least = candidate, d
		}
	}
	return best
}
