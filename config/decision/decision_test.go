package decision

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"
)

// rows of a list, without its heading.
func rows(t *testing.T, name string) [][]string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var rows [][]string
	lines := bufio.NewScanner(file)
	lines.Scan()
	for lines.Scan() {
		rows = append(rows, strings.Split(lines.Text(), "\t"))
	}
	if len(rows) < 100 {
		t.Fatalf("%s has %d rows", name, len(rows))
	}
	return rows
}

// Sections that have only keys below them, and no value of their own.
func TestEveryKeyIsDecided(t *testing.T) {
	for _, row := range rows(t, "keys.tsv") {
		if key := row[0]; Key(key) == nil && !Section(key) {
			t.Errorf("nothing is decided about the key %s", key)
		}
	}
}

func TestEveryVariableIsDecided(t *testing.T) {
	// The list has the names of the constants of some variables.
	renamed := map[string]string{
		"MIRRORD_OVERRIDE_ENV_VARS_INCLUDE_ENV": "MIRRORD_OVERRIDE_ENV_VARS_INCLUDE",
		"MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE_ENV": "MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE",
		"MIRRORD_OVERRIDE_ENV_FILE_ENV":         "MIRRORD_OVERRIDE_ENV_VARS_FILE",
		"IPV6_ENV_VAR":                          "MIRRORD_ENABLE_IPV6",
	}
	decided := 0
	for _, row := range rows(t, "testdata/env-defaults.tsv") {
		name := row[4]
		if name == "" {
			continue
		}
		if as, ok := renamed[name]; ok {
			name = as
		}
		decided++
		if !slices.ContainsFunc(Variables, func(r Row) bool { return r.Name == name }) {
			t.Errorf("nothing is decided about the variable %s", name)
		}
	}
	if decided < 80 {
		t.Errorf("only %d variables were looked for", decided)
	}
}

func TestEveryFlagIsDecided(t *testing.T) {
	for _, name := range strings.Fields(`target target-namespace agent-namespace agent-log-level agent-image agent-ttl
		agent-startup-timeout ephemeral-container fs-mode override-env-vars-exclude override-env-vars-include
		no-remote-dns skip-processes accept-invalid-certificates steal no-outgoing no-tcp-outgoing no-udp-outgoing
		no-telemetry disable-version-check config-file context env-file key pause paws`) {
		if !slices.ContainsFunc(Flags, func(r Row) bool { return r.Name == name }) {
			t.Errorf("nothing is decided about the flag --%s", name)
		}
	}
	for letter, name := range map[string]string{
		"t": "target", "n": "target-namespace", "a": "agent-namespace", "l": "agent-log-level", "i": "agent-image", "e": "ephemeral-container",
		"f": "config-file", "s": "override-env-vars-include", "x": "override-env-vars-exclude", "c": "accept-invalid-certificates", "p": "pause",
	} {
		if !slices.ContainsFunc(Flags, func(r Row) bool { return r.Name == name && r.Short == letter }) {
			t.Errorf("-%s is not --%s", letter, name)
		}
	}
}

// TestTable: each row says what a person has to know.
func TestTable(t *testing.T) {
	for _, table := range [][]Row{Keys, Variables, Flags} {
		seen := map[string]bool{}
		for _, row := range table {
			switch {
			case seen[row.Name]:
				t.Errorf("%s is there twice", row.Name)
			case row.Text == "" && row.Verdict != Mapped:
				t.Errorf("%s says nothing", row.Name)
			case row.Verdict == Refused && row.Do == "":
				t.Errorf("%s does not say what to do", row.Name)
			case row.Verdict == Mapped && len(row.To) == 0:
				t.Errorf("%s is mapped to nothing", row.Name)
			}
			seen[row.Name] = true
			for _, to := range row.To {
				if to != "config-file" && Key(to) == nil {
					t.Errorf("%s is mapped to %s, which is no key", row.Name, to)
				}
			}
		}
	}
}

func TestNear(t *testing.T) {
	for key, want := range map[string]string{
		"targets":                          "target",
		"feature.netwrok":                  "feature.network",
		"feature.env.overide":              "feature.env.override",
		"target.path.namespace":            "target.namespace",
		"copy-target":                      "feature.copy_target",
		"feature.network.outgoing.filters": "feature.network.outgoing.filter",
		"featur":                           "feature",
		"feature.scale_down":               "feature.copy_target.scale_down",
		"Lease":                            "lease",
		"entirely_other":                   "",
	} {
		if got := Near(key); got != want {
			t.Errorf("near %s: %q, want %q", key, got, want)
		}
	}
}

func TestKey(t *testing.T) {
	for key, want := range map[string]string{
		"feature.db_branches[].connection.url.key": "feature.db_branches",
		"feature.split_queues.<key>.queue_mode":    "feature.split_queues",
		"agent.tolerations[].key":                  "agent.tolerations",
		"experimental.latency.receive_delay":       "experimental.latency",
		"experimental.dlopen_cgo":                  "experimental",
		"feature.env.include":                      "feature.env.include",
		"feature.env.nope":                         "",
		"nope":                                     "",
	} {
		got := ""
		if row := Key(key); row != nil {
			got = row.Name
		}
		if got != want {
			t.Errorf("%s is decided by %q, want %q", key, got, want)
		}
	}
}
