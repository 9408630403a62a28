package progress

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
)

var update = flag.Bool("update", false, "write the golden file anew")

// page describes the lines for who reads them.
const page = "../../docs/progress.md"

// TestLines: each event is a line, in a form that other people's programs
// depend on. The page has the same lines, and says of each field what it is.
func TestLines(t *testing.T) {
	out := newScreen()
	clk := clocktesting.NewFakeClock(time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC))
	p := New(out, Options{Clock: clk, Form: config.ProgressJSON})
	s := p.Step("looking up deployment/worker")
	clk.Step(212 * time.Millisecond)
	s.Done("deployment/worker in namespace shop, container app, 3 replicas")
	p.Detail("said only with --verbose")
	p.Session("shop", "worker-x7k2p")
	s = p.Step("starting the stand-in")
	s.Wait("0/2 nodes are available: 2 Insufficient memory")
	clk.Step(8 * time.Second)
	s.Wait(`pulling image "worker:2"`)
	clk.Step(1500 * time.Millisecond)
	s.Wait("")
	s.Done("the stand-in runs")
	p.Ready("ready after 9.7 s: ./my-worker runs in the place of deployment/worker")
	p.Notice("the connection to the stand-in is lost (no route to host); trying again")
	s = p.Step("putting deployment/worker back")
	clk.Step(time.Second)
	s.Done("")
	p.Error(&failure.Failure{What: "left before deployment/worker was seen to be back", Hint: "the cluster goes on undoing it by itself", Code: 130})

	const golden = "testdata/lines.golden.jsonl"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	described, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(described), "```jsonl\n"+string(want)+"```\n") {
		t.Errorf("%s does not show these lines", page)
	}
	for i := range reflect.TypeFor[line]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[line]().Field(i).Tag.Get("json"), ",")
		if !strings.Contains(string(described), "| `"+name+"` |") {
			t.Errorf("%s does not say what %s is", page, name)
		}
	}
	for l := range strings.Lines(string(want)) {
		var read line
		if err := json.Unmarshal([]byte(l), &read); err != nil {
			t.Errorf("%s: %v", l, err)
		}
		if !strings.Contains(string(described), "| `"+read.Event+"` |") {
			t.Errorf("%s does not say what %s is", page, read.Event)
		}
	}
}

// TestLinesOthersWords: what a terminal would obey is spelt out, and read as it
// was by programs.
func TestLinesOthersWords(t *testing.T) {
	out := newScreen()
	p := New(out, Options{Clock: clocktesting.NewFakeClock(time.Unix(0, 0)), Form: config.ProgressJSON})
	const text = "a\x1b]0;owned\x07b\u009b2Jc\u202ed\U000e0001e <&> é\nf"
	p.Error(errors.New(text))
	said := out.String()
	if strings.Count(said, "\n") != 1 || strings.ContainsAny(said, "\x1b\x07\u009b\u202e\U000e0001") || !strings.Contains(said, "<&> é") {
		t.Errorf("it is written %q", said)
	}
	var read line
	if err := json.Unmarshal([]byte(said), &read); err != nil || read.Message != text {
		t.Errorf("it is read as %q, %v", read.Message, err)
	}
}
