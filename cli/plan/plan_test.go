package plan

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
)

// The whole of it, as a person reads it.
func TestText(t *testing.T) {
	w := shop(t, worker, func(w *World) {
		self := listed(t, "worker", "{spec: {containers: [{name: app}]}}")
		self.UID, self.PodNames = "u1", []string{"worker-a", "worker-b", "worker-c"}
		w.Workloads.Items = []target.Listed{self, listed(t, "reporter", "{spec: {containers: [{name: c, envFrom: [{secretRef: {name: rabbit}}]}]}}")}
		w.Services = seeing[corev1.Service](t, "{metadata: {name: front}, spec: {selector: {app: worker}, ports: [{port: 80, targetPort: 8080}]}}")
		w.Quotas = seeing[corev1.ResourceQuota](t, `{metadata: {name: compute}, status: {hard: {pods: "3"}, used: {pods: "3"}}}`)
		w.Budgets.Not = "you may not list poddisruptionbudgets"
		w.Trial.Untried = "you may not create pods"
	})
	const want = `Until your process starts:
  1. a stand-in is made, a copy of the pod of deployment/worker in which understudy's agent has the
     place of container app
  2. 3 pods of deployment/worker are scaled to zero: worker-a, worker-b, worker-c
  3. its pods are waited for, until no container of theirs runs (they may take 30s to end)
  4. your process starts; connections come to it on port 8080 (service), where it listens

When it has ended, however it ends:
  1. the stand-in goes, and is seen to be gone
  2. 3 replicas of deployment/worker are put back

In your way:
  - quota compute has no room for the stand-in beside the target (pods: 3 of 3 are used, and the
    stand-in needs 1)
    → have somebody raise it, or free something: nothing is held before the stand-in has been taken

Be careful:
  - deployment/reporter may read from the same queue, and goes on: it shares secret rabbit

Worth knowing:
  - admission was not asked whether it takes the stand-in (you may not create pods)
    → the operator asks, by a dry run, before it touches anything, and ends the session where it is
      refused
  - the right to port-forward to the stand-in, to that one pod alone, is given to you when it is
    made, and goes with it

Could not be looked at:
  - disruption budgets: you may not list poddisruptionbudgets

Something is in your way: no session would come about like this. Nothing was changed.
`
	if got := Make(w).Text(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// What mends two things is said once, below both, and nothing that a cluster says
// reaches the terminal as it is.
func TestTextOfRights(t *testing.T) {
	text := Make(shop(t, worker, func(w *World) {
		w.Rights = []error{failure.New("bind the role", "one"), failure.New("bind the role", "two\x1b[2J")}
	})).Text()
	if want := "In your way:\n  - one\n  - two\uFFFD[2J\n    → bind the role\n\n"; !strings.Contains(text, want) {
		t.Errorf("got:\n%s", text)
	}
}

// What is held first is said in that order, and every takeover has its steps.
func TestSteps(t *testing.T) {
	claims := strings.Replace(worker, "    spec:\n", "    spec:\n      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]\n", 1)
	first := Make(shop(t, claims, nil)).Before
	if !strings.Contains(first[0], "scaled to zero") || !strings.Contains(first[2], "a stand-in is made") {
		t.Errorf("planned as %q", first)
	}
	for name, c := range map[string]struct {
		w           *World
		before, end string
	}{
		"copy":       {shop(t, worker, func(w *World) { w.Takeover = "copy" }), "deployment/worker is left as it is", "nothing else was touched"},
		"none":       {shop(t, lone, func(w *World) { w.Takeover = "none" }), "which goes on running and reading", "has its ports back"},
		"job":        {shop(t, job, nil), "job/import is suspended, which ends its pods", "job/import goes on"},
		"targetless": {shop(t, worker, func(w *World) { w.Takeover, w.Target = "none", target.Nothing("shop") }), "no workload is touched", "the pod goes"},
	} {
		p := Make(c.w)
		if !strings.Contains(strings.Join(p.Before, "\n"), c.before) || !strings.Contains(strings.Join(p.AtEnd, "\n"), c.end) {
			t.Errorf("%s: planned as %q, then %q", name, p.Before, p.AtEnd)
		}
	}
	if p := Make(shop(t, worker, func(w *World) { w.Takeover, w.Target = config.TakeoverNone, target.Nothing("shop") })); p.Target != "" || p.Blocked {
		t.Errorf("without a target: %+v", p)
	}
}

// TestCodes: every code, severity and field is in the documentation, and
// nothing there is not here.
func TestCodes(t *testing.T) {
	page, err := os.ReadFile("../../docs/plan.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []Code
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z]+)`( ●)? \\|").FindAllSubmatch(page, -1) {
		documented = append(documented, Code(row[1]))
	}
	if !slices.Equal(documented, Codes) {
		t.Errorf("docs/plan.md has %v, there are %v", documented, Codes)
	}
	for _, kind := range []reflect.Type{reflect.TypeFor[Plan](), reflect.TypeFor[Replicas](), reflect.TypeFor[Port](), reflect.TypeFor[Finding](), reflect.TypeFor[Unseen]()} {
		for i := range kind.NumField() {
			name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
			if !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("docs/plan.md does not have the field %s of %s", name, kind.Name())
			}
		}
	}
	source, err := os.ReadFile("finding.go")
	if err != nil {
		t.Fatal(err)
	}
	if declared := regexp.MustCompile(`(?m)^\t\w+ +Code = "`).FindAll(source, -1); len(declared) != len(Codes) {
		t.Errorf("%d codes are declared, Codes has %d", len(declared), len(Codes))
	}
}
