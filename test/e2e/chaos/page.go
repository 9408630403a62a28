package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"understudy.dev/understudy/test/e2e/fault"
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
	Build     string    `json:"build,omitempty"`
}

func (r *result) good() bool { return r.Right && r.Left == "" && r.Lost == 0 }

// missed says that a session ended as it must, and that its fault was not made: what it
// was to be done to had not come, or was gone.
func (r *result) missed() bool {
	return strings.Contains(r.Problem, fault.ErrNoFault.Error()) && r.Left == "" && r.Lost == 0
}

// cells are what a table says of it.
func (r *result) cells() string {
	right, left := "yes", "nothing"
	if !r.Right {
		right = "**no**: " + r.Problem
	}
	if r.Left != "" {
		left = "**" + r.Left + "**"
	}
	return fmt.Sprintf("%s | %.1f | %s | %d of %d | %s", right, r.Seconds, left, r.Lost, r.Published, of(r.When.UTC().Format("2 January"), r.Build))
}

// build is the checkout that is played, as `run` says it; empty without git.
func build() string { return os.Getenv("CHAOS_BUILD") }

// of says a day and the build of that day, where it is known.
func of(day, build string) string {
	if build == "" {
		return day
	}
	return day + ", " + build
}

// atRandom is what the random sessions on the real cluster came to.
type atRandom struct {
	Seed     uint64  `json:"seed"`
	Sessions int     `json:"sessions"`
	Equal    int     `json:"equal"`
	Lost     uint64  `json:"lost"`
	Slowest  float64 `json:"slowest"`
	Build    string  `json:"build,omitempty"`
	// AtOnce is how many there were side by side, and TurnedAway how many commands
	// ended before they had one.
	AtOnce     int `json:"atOnce"`
	TurnedAway int `json:"turnedAway"`
	// Storms says how often each fault of the whole cluster came over them.
	Storms map[string]int `json:"storms"`
}

// inner is what the tests of the operator report.
type inner struct {
	Build  string   `json:"build"`
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

// seenOn is the day of a report, and its build.
func seenOn(name, build string) string {
	info, err := os.Stat(filepath.Join(folder(), name))
	if err != nil {
		return "no day that is known"
	}
	return of(info.ModTime().UTC().Format("2 January 2006"), build)
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
	var in, inRandom inner
	var random atRandom
	if err := errors.Join(load("cluster.json", &all), load("writes.json", &writes), load("requests.json", &in), load("random.json", &inRandom), load("cluster-random.json", &random)); err != nil {
		return err
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# What happens when something breaks\n")
	line("`make chaos` writes this page from what it has seen; nothing here is written by hand. *Right* means that the number of replicas came back, and that the whole")
	line("object is what it was but for resourceVersion, generation and times. What was seen stays until it is seen anew, and")
	line("bears its day and the commit that was played, where that is known, with + if not all in the checkout was committed. %s.\n", time.Now().UTC().Format("2 January 2006"))
	sessionRows(line, all)
	crowdRows(line, random)
	writeRows(line, writes)
	requestRows(line, in, inRandom)
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
	line("in all that a program is made of: it is built with another Go clock. A drained node keeps the broker. *Being ended* is right after Ctrl-C,")
	line("while the CLI still ends its command and the session: where it is gone before the cluster has heard of that, the lease ends it.\n")
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

// crowdRows say what came of the sessions side by side.
func crowdRows(line func(string, ...any), all atRandom) {
	if all.Sessions == 0 {
		return
	}
	line("## At random, side by side, on the real cluster\n")
	line("%d sessions, %d at once, each on a workload and a broker of its own, with one of the faults of a single session, in one of its phases and up to %.1f s later; quotas and webhooks that refuse", all.Sessions, all.AtOnce, (lease / 3).Seconds())
	line("do so for up to %.0f s. Storms come over all of them meanwhile, about every %.0f s; a session whose stand-in a storm or its own end was faster to take has had no other fault. Seed %d, on %s.\n", refused.Seconds(), betweenStorms.Seconds(), all.Seed, seenOn("cluster-random.json", all.Build))
	line("**%d of %d ended with the workload as it was and nothing left over; %d messages were lost;** the longest time to the number was %.1f s. %d more were told in a storm that no operator answers, and had none.\n", all.Equal, all.Sessions, all.Lost, all.Slowest, all.TurnedAway)
	line("| storm | times |\n|---|---|")
	for _, name := range slices.Sorted(maps.Keys(all.Storms)) {
		line("| %s | %d |", name, all.Storms[name])
	}
	line("")
}

func requestRows(line func(string, ...any), in, atRandom inner) {
	line("## The operator and the API server, request by request\n")
	if len(in.Rows) == 0 {
		line("It was not run.\n")
		return
	}
	line("A real API server, and a transport beneath the operator's own client that fails: each fault at the first of each kind of request that a session makes, in a session of its")
	line("own; and an operator killed before each step. *Looks* is how many reconciliations it took at most from the session's end to its being gone. Seen on %s.\n", seenOn("requests.json", in.Build))
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
	if random := atRandom.Random; random.Sessions > 0 {
		line("\n**At random:** %d sessions (seed %d, on %s), each with up to twelve faults at any request and between any steps, clocks that jump by an hour from one operator to the next, and", random.Sessions, atRandom.Seed, seenOn("random.json", atRandom.Build))
		line("ended at any moment by their owner, by silence, or by somebody who forces them off. %d of them ended with the workload as it was; %d objects were left over.", random.Equal, random.Left)
		line("The API server is real here, and controllers, kubelets and clients are played, so that a fault meets each request.")
	} else {
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
