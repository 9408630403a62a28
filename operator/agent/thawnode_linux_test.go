package agent

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
	"understudy.dev/understudy/operator/freeze/record"
)

// ended is a process that was and is no more.
func endedProcess(t *testing.T) record.Process {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := record.Identify(cmd.Process.Pid)
	if err := errors.Join(err, cmd.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	return p
}

// Thawing a whole node thaws what is known for ours, and never says that nothing is
// frozen while something is: what has no record may be somebody else's, and is named.
// This machine may have other frozen containers, so only the pod's own are asked for.
func TestThawNode(t *testing.T) {
	self, err := record.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		version int
		// agent whose record it is, which knows of another hierarchy; nil for none.
		agent func(*testing.T) record.Process
		// unreadable is a record that another version has written.
		unreadable bool
		thawed     bool
		says       string // of the container
	}{
		"no record":                    {version: 2, says: "(cgroup v2)"},
		"no record, version 1":         {version: 1, says: "(cgroup v1)"},
		"a record of one that is gone": {version: 2, agent: endedProcess, thawed: true},
		"a record of one that lives":   {version: 2, agent: func(*testing.T) record.Process { return self }},
		"a record of another version":  {version: 2, unreadable: true, thawed: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newNodeWorld(t)
			dir := record.Dir(w.state)
			session := "session-" + w.pod.UID
			if test.agent != nil {
				r := record.Record{Session: session, Pod: "shop/worker", PodUID: w.pod.UID, Agent: test.agent(t), Frozen: []record.Frozen{{
					Container: cgroup.Container{PodUID: w.pod.UID, ID: w.pod.ID}, Version: cgroup.V1, Path: "/kubepods/pod" + w.pod.UID + "/" + w.pod.ID,
				}}}
				if err := dir.Claim(r); err != nil {
					t.Fatal(err)
				}
			}
			if test.unreadable {
				err := os.WriteFile(filepath.Join(w.state, session+".json"), []byte(`{"format":99,"podUID":"`+w.pod.UID+`"}`), 0o600)
				if err != nil {
					t.Fatal(err)
				}
			}
			if test.version == 2 {
				freezetest.Put(filepath.Join(w.pod.Dirs[2], "cgroup.freeze"), "1")
			} else {
				freezetest.Put(filepath.Join(w.pod.Dirs[1], "freezer.state"), "FROZEN")
			}
			w.pod.Still(w.target)

			said, err := thawPod(t.Context(), "an agent that only thaws", cgroup.Node{}, dir, "")
			if err != nil {
				said = err.Error()
			}
			state, _ := os.ReadFile(filepath.Join(w.pod.Dirs[1], "freezer.state"))
			if frozen := frozenNow(w.pod.Dirs) || strings.HasPrefix(string(state), "FROZEN"); frozen == test.thawed {
				t.Errorf("frozen: %v; it says %s", frozen, said)
			}
			if !test.thawed && err == nil {
				t.Errorf("with a container that is frozen it says %q", said)
			}
			named := "container " + w.pod.ID + " of pod " + w.pod.UID + " " + test.says
			if got := strings.Contains(said, named); got != (test.says != "") {
				t.Errorf("it says %q, and %q is in there: %v", said, named, got)
			}
		})
	}
}

// Where nothing of a pod is on the node it is not said that nothing of it is frozen:
// the node may call it something else.
func TestThawOfNothing(t *testing.T) {
	w := newNodeWorld(t)
	for uid, want := range map[string]string{
		w.pod.UID:                              "nothing was frozen any more, seen by it",
		"11111111-2222-3333-4444-555555555555": settings.NothingThere + ", seen by it",
	} {
		if said, err := thawPod(t.Context(), "it", cgroup.Node{}, record.Dir(w.state), uid); err != nil || said != want {
			t.Errorf("of pod %s it says %q, %v", uid, said, err)
		}
	}
}

// Of many that are frozen all are counted, and some named.
func TestNobodys(t *testing.T) {
	if err := nobodys(nil); err != nil {
		t.Errorf("of none it says %v", err)
	}
	var many []string
	for range most + 3 {
		many = append(many, strings.Repeat("x", 150))
	}
	if said := nobodys(many).Error(); !strings.Contains(said, "; 3 more;") || strings.Count(said, "xxx; ") != most || len(said) > 4096 {
		t.Errorf("of many it says %s", said)
	}
}
