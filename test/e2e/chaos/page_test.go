package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// page is what is written of the reports.
func page(t *testing.T, reports map[string]any) string {
	t.Helper()
	t.Setenv("CHAOS_SEEN", t.TempDir())
	t.Setenv("CHAOS_PAGE", filepath.Join(t.TempDir(), "page.md"))
	// Days of reports are those of their files.
	day := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for name, report := range reports {
		if err := store(name, report); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(folder(), name), day, day); err != nil {
			t.Fatal(err)
		}
	}
	if err := writePage(); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(os.Getenv("CHAOS_PAGE"))
	if err != nil {
		t.Fatal(err)
	}
	return string(written)
}

func has(t *testing.T, page string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(page, w) {
			t.Errorf("the page has no %q:\n%s", w, page)
		}
	}
}

// reports are of that build.
func reports(build string) map[string]any {
	row := func(fault, phase string) result {
		return result{Fault: fault, Phase: phase, Right: true, Seconds: 1, Published: 40, When: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), Build: build}
	}
	return map[string]any{
		"cluster.json":        []result{row("SIGKILL of the operator", ready)},
		"writes.json":         []result{row(moments[0].name, "PATCH sessions")},
		"cluster-random.json": atRandom{Seed: 3, Sessions: 12, Equal: 12, Build: build, AtOnce: 4, Storms: map[string]int{"a storm": 2}},
		"requests.json":       inner{Build: build, Rows: []counts{{Fault: "409 conflict", Phase: "claim", Sessions: 1, Equal: 1}}},
		"random.json":         inner{Build: build, Seed: 4, Random: counts{Sessions: 300, Equal: 300}},
	}
}

func TestWhatWasSeenNamesItsBuild(t *testing.T) {
	has(
		t, page(t, reports("bafd744+")),
		"| SIGKILL of the operator | ready | yes | 1.0 | nothing | 0 of 40 | 26 November, bafd744+ |\n",
		"| PATCH sessions | before the write | yes | 1.0 | nothing | 0 of 40 | 26 November, bafd744+ |\n",
		"12 sessions, 4 at once,", "Seed 3, on 27 November 2026, bafd744+.\n", "**12 of 12 ended with the workload as it was", "| a storm | 2 |\n",
		"Seen on 27 November 2026, bafd744+.\n",
		"300 sessions (seed 4, on 27 November 2026, bafd744+)",
	)
}

// Reports of earlier builds, and of a checkout without git, have none.
func TestADayAloneWhereTheBuildIsNotKnown(t *testing.T) {
	has(
		t, page(t, reports("")),
		"| SIGKILL of the operator | ready | yes | 1.0 | nothing | 0 of 40 | 26 November |\n",
		"| PATCH sessions | before the write | yes | 1.0 | nothing | 0 of 40 | 26 November |\n",
		"Seed 3, on 27 November 2026.\n",
		"Seen on 27 November 2026.\n",
		"300 sessions (seed 4, on 27 November 2026)",
	)
}

func TestWhatWasNotPlayedIsOnThePage(t *testing.T) {
	has(
		t, page(t, reports("bafd744")),
		"- On the real cluster: SIGKILL of the CLI and all its processes (ready, being set up, being ended).\n",
		"- On the real cluster: SIGSTOP of the CLI beyond its lease (ready, being set up, being ended).\n",
		"packets dropped, beyond the lease (ready, being set up, being ended).\n",
		"- On the real cluster: SIGKILL of the operator (being set up, being ended).\n",
	)
}
