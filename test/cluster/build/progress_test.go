package build

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgressCorrectsItsEstimate(t *testing.T) {
	parts := []Part{
		{Name: "first", Packages: 100, Cold: 100 * time.Second},
		{Name: "second", Packages: 50, Cold: 50 * time.Second},
	}
	now := time.Unix(0, 0)
	var out bytes.Buffer
	p := newProgress(&out, func() time.Time { return now }, parts)
	p.begin(parts[0])
	// Half of the first part in 100 s: half as fast as the figures say.
	for range 50 {
		now = now.Add(2 * time.Second)
		p.compiled()
	}
	if got, want := p.left(), 200*time.Second; got != want {
		t.Errorf("after half of the first part %s are left, want %s", got, want)
	}
	p.end()
	p.begin(parts[1])
	if got, want := p.left(), 50*time.Second; got != want {
		t.Errorf("before the second part %s are left, want %s: what the first took in the end is what counts", got, want)
	}
	if lines := strings.Count(out.String(), "left\n"); lines != 10 {
		t.Errorf("%d lines of progress in 100 s, want one every %s\n%s", lines, every, &out)
	}
}

func TestFollowTellsPackagesFromErrors(t *testing.T) {
	now := time.Unix(0, 0)
	p := newProgress(&bytes.Buffer{}, func() time.Time { return now }, Catalog)
	p.begin(Catalog[0])
	said := follow(strings.NewReader("go: downloading example.com/a v1.0.0\nexample.com/a\nexample.com/b/v2\n# example.com/c\nc.go:1:2: undefined: x\n"), p)
	if p.packages != 2 {
		t.Errorf("%d packages, want 2", p.packages)
	}
	if want := "# example.com/c\nc.go:1:2: undefined: x\n"; said != want {
		t.Errorf("errors %q, want %q", said, want)
	}
}
