package manager

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// clock is the API server's clock as it was at the start, carried on by this
// process's monotonic one. All times that the operator compares are the API
// server's: of creation and deletion of objects, and those that an operator
// before this one wrote. Were they compared with a node's own clock, an operator
// on a node that is an hour ahead would end sessions that have just begun, take
// stand-ins for silent that still run, and not wait for controllers; one that is
// an hour behind would let sessions last an hour longer. And a clock that is set
// right under a running operator changes nothing.
type clock struct {
	// local is this process's own; only differences of it are used.
	local func() time.Time
	// theirs and ours are the same moment.
	theirs, ours time.Time
}

// readClock asks the API server for the time: replies bear it, in whole seconds.
// So the clock is up to a second behind and never ahead. Where a reply has no
// time, because of what stands before the API server, it is this process's own.
func readClock(ctx context.Context, config *rest.Config, local func() time.Time) (*clock, error) {
	reach, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's address: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base.String(), "/")+"/version", nil)
	if err != nil {
		return nil, fmt.Errorf("asking the API server: %w", err)
	}
	response, err := reach.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the API server: %w", err)
	}
	defer response.Body.Close()
	now := local()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16)); err != nil {
		return nil, fmt.Errorf("asking the API server: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking the API server: it answers %s", response.Status)
	}
	theirs, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		theirs = now
	}
	return &clock{local: local, theirs: theirs, ours: now}, nil
}

// Now is the API server's time.
func (c *clock) Now() time.Time { return c.theirs.Add(c.local().Sub(c.ours)) }

// off is how far this process's own clock is ahead of the API server's.
func (c *clock) off() time.Duration { return c.ours.Sub(c.theirs) }
