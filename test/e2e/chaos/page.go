package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// result is one row of the matrix on the real cluster.
type result struct {
	Fault string `json:"fault"`
	Phase string `json:"phase"`
	// Right says that the number came back and the whole object is what it was.
	Right bool `json:"right"`
	// Seconds from the fault (or from the session's end, where that came later) to
	// the number.
	Seconds float64 `json:"seconds"`
	// Left names what is left over; Problem what else went wrong.
	Left    string `json:"left,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Published messages, and how many of them nobody acknowledged.
	Published uint64    `json:"published"`
	Lost      uint64    `json:"lost"`
	When      time.Time `json:"when"`
}

func (r *result) good() bool { return r.Right && r.Left == "" && r.Lost == 0 }

// cells are what a table says of it.
func (r *result) cells() string {
	right, left := "yes", "nothing"
	if !r.Right {
		right = "**no**: " + r.Problem
	}
	if r.Left != "" {
		left = "**" + r.Left + "**"
	}
	return fmt.Sprintf("%s | %.1f | %s | %d of %d | %s", right, r.Seconds, left, r.Lost, r.Published, r.When.UTC().Format("2 January"))
}

// atRandom is what the random sessions on the real cluster came to.
type atRandom struct {
	Seed     uint64  `json:"seed"`
	Sessions int     `json:"sessions"`
	Equal    int     `json:"equal"`
	Lost     uint64  `json:"lost"`
	Slowest  float64 `json:"slowest"`
}

// inner is what the tests of the operator report.
type inner struct {
	Seed   uint64   `json:"seed"`
	Random counts   `json:"random"`
	Rows   []counts `json:"rows"`
}

type counts struct {
	Fault    string `json:"fault"`
	Phase    string `json:"phase"`
	Sessions int    `json:"sessions"`
	Equal    int    `json:"equal"`
	Left     int    `json:"leftOver"`
	Looks    int    `json:"looks"`
}

func folder() string { return os.Getenv("CHAOS_SEEN") }

// seenOn is the day of a report.
func seenOn(name string) string {
	info, err := os.Stat(filepath.Join(folder(), name))
	if err != nil {
		return "no day that is known"
	}
	return info.ModTime().UTC().Format("2 January 2006")
}

func load(name string, into any) error {
	data, err := os.ReadFile(filepath.Join(folder(), name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("reading what was seen before: %w", err)
	}
	return nil
}

// keep puts a result in the place of an older one of the same case.
func keep(r result) error {
	var all []result
	if err := load("cluster.json", &all); err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(o result) bool { return o.Fault == r.Fault && o.Phase == r.Phase })
	return store("cluster.json", append(all, r))
}

func store(name string, what any) error {
	data, err := json.MarshalIndent(what, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(folder(), name), data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("keeping what was seen: %w", err)
	}
	return nil
}

func writePage() error {
	var all, writes []result
	var in inner
	var random atRandom
	if err := errors.Join(load("cluster.json", &all), load("writes.json", &writes), load("requests.json", &in), load("cluster-random.json", &random)); err != nil {
		return err
	}
	in.Random = counts{}
	if err := load("random.json", &struct {
		Seed   *uint64 `json:"seed"`
		Random *counts `json:"random"`
	}{&in.Seed, &in.Random}); err != nil {
		return err
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# What happens when something breaks\n")
	line("`make chaos` writes this page from what it has seen; nothing here is written by hand. *Right* means that the number of replicas came back, and that the whole")
	line("object is what it was but for resourceVersion, generation and times. %s.\n", time.Now().UTC().Format("2 January 2006"))
	sessionRows(line, all)
	if random.Sessions > 0 {
		line("**At random:** %d sessions there (seed %d), each with one of these faults, in one of its phases and up to %.1f s later: %d ended with the workload as it was and nothing left over,", random.Sessions, random.Seed, (lease / 3).Seconds(), random.Equal)
		line("%d messages were lost, and the longest time to the number was %.1f s.\n", random.Lost, random.Slowest)
	}
	writeRows(line, writes)
	requestRows(line, in)
	line("\n## What was not run\n")
	for _, f := range append(missing(all), notBuilt...) {
		line("- %s", f)
	}
	if err := os.WriteFile(os.Getenv("CHAOS_PAGE"), []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// notBuilt are faults that nothing here makes yet.
var notBuilt = []string{
	"Sessions that freeze: docs/thaw.md has theirs.",
	"A clock that is wrong on a node or on the API server's machine.",
}

func sessionRows(line func(string, ...any), all []result) {
	line("## Whole sessions, on the real cluster\n")
	if len(all) == 0 {
		line("None was run.\n")
		return
	}
	line("One fault in one phase each: the workload is three pods that take messages from a broker, the lease is %s. Seconds count from the fault, or from the session's end", lease)
	line("where that comes later, to the number of replicas. Where the developer's machine is gone they hold the lease. Messages are the broker's own count: lost is what was")
	line("published and in the end acknowledged by nobody. A restore that something stands against for %s is looked at from then on, and so is one behind an API server that is ill.", refused)
	line("That is played by a proxy before it, one for the CLI and one for the operator, which then runs outside of the cluster; what is open when it begins to fail stays open. Clocks are off")
	line("in all that a program is made of: it is built with another Go clock. A drained node keeps the broker.\n")
	line("| fault | phase | right | seconds | left over | messages lost | seen on |\n|---|---|---|---|---|---|---|")
	for _, c := range cases {
		for _, phase := range c.phases {
			i := slices.IndexFunc(all, func(r result) bool { return r.Fault == c.name && r.Phase == phase })
			if i < 0 {
				continue
			}
			line("| %s | %s | %s |", c.name, phase, all[i].cells())
		}
	}
	line("")
}

func requestRows(line func(string, ...any), in inner) {
	line("## The operator and the API server, request by request\n")
	if len(in.Rows) == 0 {
		line("It was not run.\n")
		return
	}
	line("A real API server, and a transport beneath the operator's own client that fails: each fault at the first of each kind of request that a session makes, in a session of its")
	line("own; and an operator killed before each step. *Looks* is how many reconciliations it took at most from the session's end to its being gone. Seen on %s.\n", seenOn("requests.json"))
	line("| fault | places | sessions | right | left over | looks |\n|---|---|---|---|---|---|")
	sum := map[string]*counts{}
	var order []string
	for _, r := range in.Rows {
		s := sum[r.Fault]
		if s == nil {
			s = &counts{}
			sum[r.Fault] = s
			order = append(order, r.Fault)
		}
		s.Phase += "x"
		s.Sessions, s.Equal, s.Left, s.Looks = s.Sessions+r.Sessions, s.Equal+r.Equal, s.Left+r.Left, max(s.Looks, r.Looks)
	}
	slices.Sort(order)
	for _, fault := range order {
		s := sum[fault]
		line("| %s | %d | %d | %d | %d | %d |", fault, len(s.Phase), s.Sessions, s.Equal, s.Left, s.Looks)
	}
	if in.Random.Sessions > 0 {
		line("\n**At random:** %d sessions (seed %d, on %s), each with up to twelve faults at any request and between any steps, clocks that jump by an hour from one operator to the next, and", in.Random.Sessions, in.Seed, seenOn("random.json"))
		line("ended at any moment by their owner, by silence, or by somebody who forces them off. %d of them ended with the workload as it was; %d objects were left over.", in.Random.Equal, in.Random.Left)
	}
	if in.Random.Sessions == 0 {
		line("\nNo session was run at random.")
	}
	line("\n<details><summary>Every place</summary>\n\n| fault | step: request | sessions | right | left over | looks |\n|---|---|---|---|---|---|")
	rows := slices.Clone(in.Rows)
	slices.SortStableFunc(rows, func(a, b counts) int { return strings.Compare(a.Fault, b.Fault) })
	for _, r := range rows {
		line("| %s | %s | %d | %d | %d | %d |", r.Fault, r.Phase, r.Sessions, r.Equal, r.Left, r.Looks)
	}
	line("\n</details>")
}

// missing are the cases that have no row.
func missing(all []result) []string {
	var found []string
	for _, c := range cases {
		var phases []string
		for _, phase := range c.phases {
			if !slices.ContainsFunc(all, func(r result) bool { return r.Fault == c.name && r.Phase == phase }) {
				phases = append(phases, phase)
			}
		}
		if len(phases) > 0 {
			found = append(found, "On the real cluster: "+c.name+" ("+strings.Join(phases, ", ")+").")
		}
	}
	return found
}
