package build

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// every is how often a line of progress is written.
const every = 10 * time.Second

// progress tells how far a build is and guesses when it ends: from what each part
// took elsewhere, corrected by how this machine has done so far.
type progress struct {
	out   io.Writer
	clock func() time.Time

	mu       sync.Mutex
	parts    []Part
	at       int
	packages int
	started  time.Time
	began    time.Time
	told     time.Time
	// spent and expected add up the parts that are done.
	spent, expected time.Duration
}

func newProgress(out io.Writer, clock func() time.Time, parts []Part) *progress {
	p := &progress{out: out, clock: clock, parts: parts, at: -1, started: clock()}
	var all time.Duration
	for _, part := range parts {
		all += part.Cold
	}
	fmt.Fprintf(out, "building the cluster's programs: %d parts, about %s on two cores when nothing is cached yet\n", len(parts), all.Round(time.Second))
	return p
}

func (p *progress) begin(part Part) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at++
	p.packages = 0
	p.began, p.told = p.clock(), p.clock()
	fmt.Fprintf(p.out, "[%d/%d] %s\n", p.at+1, len(p.parts), part.Name)
}

func (p *progress) compiled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packages++
	if now := p.clock(); now.Sub(p.told) >= every {
		p.told = now
		part := p.parts[p.at]
		fmt.Fprintf(p.out, "[%d/%d] %s: %d packages of at most about %d, %s left\n", p.at+1, len(p.parts), part.Name, p.packages, max(part.Packages, p.packages), p.left().Round(time.Second))
	}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := p.clock().Sub(p.began)
	p.spent += took
	p.expected += p.parts[p.at].Cold
	fmt.Fprintf(p.out, "[%d/%d] %s: built in %s\n", p.at+1, len(p.parts), p.parts[p.at].Name, took.Round(100*time.Millisecond))
}

// left estimates the time to the end of the build.
func (p *progress) left() time.Duration {
	part := p.parts[p.at]
	done := min(1, float64(p.packages)/float64(max(1, part.Packages)))
	current := time.Duration(float64(part.Cold) * (1 - done))
	var rest time.Duration
	for _, later := range p.parts[p.at+1:] {
		rest += later.Cold
	}
	// What has been done of the current part counts for the machine's speed too.
	spent := p.spent + p.clock().Sub(p.began)
	expected := p.expected + part.Cold - current
	if expected <= 0 {
		return current + rest
	}
	return time.Duration(float64(current+rest) * float64(spent) / float64(expected))
}
