package main

import (
	"fmt"
	"strings"

	"understudy.dev/understudy/test/e2e/queue"
)

// phase is one column: what the server's counters moved by from one quiet
// moment to the next.
type phase struct {
	name      string
	replicas  string
	published uint64
	cluster   uint64
	local     uint64
	lost      uint64
	inFlight  string
}

// between makes a column of two readings.
func between(name, replicas string, a, b queue.Counters) phase {
	return phase{
		name: name, replicas: replicas, inFlight: "",
		published: b.Published - a.Published,
		cluster:   b.By("cluster") - a.By("cluster"),
		local:     b.By("local") - a.By("local"),
		// Every message below the floor was acknowledged by whoever took it.
		lost: b.Published - b.AckFloor,
	}
}

func table(phases []phase) string {
	rows := []struct {
		name string
		cell func(p phase) string
	}{
		{"", func(p phase) string { return p.name }},
		{"replicas of deployment/worker", func(p phase) string { return p.replicas }},
		{"messages published", func(p phase) string { return fmt.Sprint(p.published) }},
		{"delivered to the cluster's pods", func(p phase) string { return fmt.Sprint(p.cluster) }},
		{"delivered to the local process", func(p phase) string { return fmt.Sprint(p.local) }},
		{"in flight at the moment of the hold", func(p phase) string { return p.inFlight }},
		{"lost", func(p phase) string { return fmt.Sprint(p.lost) }},
	}
	const first, other = 38, 12
	var out strings.Builder
	rule := "  " + strings.Repeat("─", first+other*len(phases)) + "\n"
	for i, row := range rows {
		fmt.Fprintf(&out, "  %s", pad(row.name, first))
		for _, p := range phases {
			fmt.Fprintf(&out, "%*s", other, row.cell(p))
		}
		out.WriteString("\n")
		if i == 0 {
			out.WriteString(rule)
		}
	}
	return out.String() + rule
}
