package story

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Frozen sessions are broken in every way, one after the other in a random
// order, and what was seen is written down. `make thaw-matrix` runs it.
func TestThawMatrix(t *testing.T) {
	runs, _ := strconv.Atoi(os.Getenv("THAW_RUNS"))
	if runs == 0 {
		t.Skip("SKIPPED: it takes long and disturbs every other session; make thaw-matrix runs it")
	}
	n := seed(t)
	random := rand.New(rand.NewPCG(n, 0))
	var order []breakage
	for len(order) < runs {
		for _, i := range random.Perm(len(breakages)) {
			order = append(order, breakages[i])
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d runs in a row, seed %d. The first ones are each of them once.\n\n", runs, n)
	table.WriteString("| run | what was done | frozen session | thawed after | rules gone after | thawed by |\n|---|---|---|---|---|---|\n")
	failed := false
	for i, b := range order[:runs] {
		var came broken
		passed := t.Run(fmt.Sprintf("%d %s", i+1, b.name), func(t *testing.T) { came = newScene(t).breaks(b, 0) })
		failed = failed || !passed
		lives := "ends"
		if b.within == 0 {
			lives = "goes on"
		}
		ms := func(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
		row := []string{strconv.Itoa(i + 1), b.name, lives, ms(came.Thawed), ms(came.Cleared), came.Proof}
		if !passed {
			row[5] = "FAILED"
		}
		fmt.Fprintf(&table, "| %s |\n", strings.Join(row, " | "))
	}
	t.Log("\n" + table.String())
	if file := os.Getenv("THAW_TABLE"); file != "" && !failed {
		if err := replaceTable(file, table.String()); err != nil {
			t.Error(err)
		}
	}
}

// replaceTable puts text between the marks that a document has for a table.
func replaceTable(file, text string) error {
	was, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, begins := bytes.Cut(was, []byte("<!-- table: begin"))
	mark, _, _ := bytes.Cut(rest, []byte("\n"))
	_, tail, ends := bytes.Cut(rest, []byte("<!-- table: end"))
	if !begins || !ends {
		return fmt.Errorf("%s has no marks for a table", file)
	}
	is := fmt.Sprintf("%s<!-- table: begin%s\n%s<!-- table: end%s", head, mark, text, tail)
	return os.WriteFile(file, []byte(is), 0o644)
}
