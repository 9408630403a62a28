package story

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/broker"
	"understudy.dev/understudy/test/e2e/developer"
)

// silence is how long a broker waits for the silent, where that can be said:
// RabbitMQ's heartbeat, JetStream's ack_wait, the idle time after which a Redis
// entry is claimed.
const silence = 10 * time.Second

// bounded is how long the table waits for the first of the held messages.
const bounded = 40 * time.Second

// brokerRow is one queue of the table.
type brokerRow struct {
	name, kind string
	silence    time.Duration
	seen       [2]brokerSeen // with the connections released, and kept
}

// brokerSeen is what came of freezing its consumer.
type brokerSeen struct {
	// first of the held messages came so long after Ready; none where it did not
	// within the bound. since is counted from when they were published.
	first, since time.Duration
	none         bool
	// strays are new messages that the broker gave to the frozen consumer.
	strays int
}

// A consumer is frozen while it holds messages, of each broker, and what the
// broker does with them and with new ones is written down. `make broker-table`
// runs it.
func TestBrokerTable(t *testing.T) {
	file := os.Getenv("BROKER_TABLE")
	if file == "" {
		t.Skip("SKIPPED: it takes minutes, of which most is waiting; make broker-table runs it")
	}
	rows := []*brokerRow{
		{name: "RabbitMQ, heartbeat 10 s", kind: "rabbitmq", silence: silence},
		{name: "RabbitMQ, heartbeat 60 s", kind: "rabbitmq", silence: time.Minute},
		{name: "NATS JetStream, `ack_wait` 10 s", kind: "jetstream", silence: silence},
		{name: "Redis list, `BLPOP`", kind: "redis-list", silence: silence},
		{name: "Redis list, `BLMOVE`; the others give back what one holds that was silent for 10 s", kind: "redis-move", silence: silence},
		{name: "Redis stream, `XAUTOCLAIM` of what was idle for 10 s", kind: "redis-stream", silence: silence},
	}
	// What comes at once is measured alone; what is waited for, together.
	t.Run("released", func(t *testing.T) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) { row.seen[0] = newScene(t).freezesHolder(row) })
		}
	})
	t.Run("kept", func(t *testing.T) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				row.seen[1] = newScene(t).freezesHolder(row, "--keep-connections")
			})
		}
	})
	var table strings.Builder
	load, _ := os.ReadFile("/proc/loadavg") // where there is one
	minute, _, _ := strings.Cut(string(load), " ")
	fmt.Fprintf(&table, "%d messages were held, and %d more published while the consumer was frozen, which would have taken %d of them. %d CPUs; load at the end: %s.\n\n",
		tableHeld, tableMore, tableRoom, runtime.NumCPU(), minute)
	table.WriteString("| queue | reset: first of the held, after `Ready` | kept: first of the held, after `Ready` | reset: new ones to the frozen | kept: new ones to the frozen |\n|---|---|---|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(&table, "| %s | %s | %s | %d | %d |\n", row.name, row.seen[0], row.seen[1], row.seen[0].strays, row.seen[1].strays)
	}
	t.Log("\n" + table.String())
	if !t.Failed() {
		if err := replaceTable(file, table.String()); err != nil {
			t.Error(err)
		}
	}
}

func (s brokerSeen) String() string {
	if s.none {
		return fmt.Sprintf("not within %.0f s", bounded.Seconds())
	}
	return fmt.Sprintf("%.1f s (%.1f s after it was published)", s.first.Seconds(), s.since.Seconds())
}

const (
	tableHeld, tableMore = 50, 100
	// tableRoom is for how many more than it holds the frozen consumer has asked.
	tableRoom = 10
)

// freezesHolder freezes a consumer that holds messages and has asked for more.
func (s *scene) freezesHolder(row *brokerRow, flags ...string) (seen brokerSeen) {
	s.Helper()
	h := s.hold(row.kind, row.silence, tableHeld+tableRoom, tableHeld)
	run, ready := h.freeze(flags...)
	before := h.counted(func(broker.Counters) error { return nil })
	_, err := h.dealer.Publish(s.within(patience), tableMore)
	s.must(err)
	// What did not come here at once went there, and the broker's counters have to
	// say so too. The most that they say: others may take it away again.
	most := 0
	h.counted(func(c broker.Counters) error {
		most = max(most, c.Given["holder"]-before.Given["holder"])
		seen.strays = tableMore - h.fresh(run)
		if c.Ready != 0 || h.kind != "redis-list" && most != seen.strays {
			return fmt.Errorf("%d of %d new messages did not come, and by the counters %d went to the frozen consumer", seen.strays, tableMore, most)
		}
		return nil
	})
	first := h.first(run, ready.Add(bounded))
	if seen.none = first.IsZero(); !seen.none {
		seen.first, seen.since = first.Sub(ready), first.Sub(h.since)
	}
	if row.kind == "redis-list" {
		// Redis does not count who popped: it is what has not come in all this
		// time.
		seen.strays = tableMore - h.fresh(run)
	}
	h.pod.isFrozen("at the end")
	began := time.Now()
	s.must(run.Interrupt())
	h.pod.thawed(began, soonThawed+busy)
	s.exits(run, 0)
	s.agentsGone()
	h.pod.wentOn()
	return seen
}

// fresh are how many new messages the local process has, that nobody had before.
func (h *holding) fresh(run *developer.Run) (n int) {
	for number, took := range takings(run) {
		if number > h.held && !took.again {
			n++
		}
	}
	return n
}
