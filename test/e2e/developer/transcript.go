package developer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"
	"time"
)

// Transcript keeps what a command says.
type Transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds to it.
func (t *Transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

// String is all of it so far.
func (t *Transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// pipe is a file that a command of the run may write to.
func (t *Transcript) pipe(r *Run) (*os.File, error) {
	near, far, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	r.reading.Go(func() {
		defer near.Close()
		t.readAll(near)
	})
	return far, nil
}

func (t *Transcript) readAll(r io.Reader) {
	buffer := make([]byte, 4096)
	for {
		n, err := r.Read(buffer)
		t.Write(buffer[:n]) //nolint:errcheck // it has no error
		if err != nil {
			return // the other end of the terminal is closed
		}
	}
}

// Saw waits until the pattern is in it and returns its submatches.
func (t *Transcript) Saw(ctx context.Context, pattern string) ([]string, error) {
	expression, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("reading the pattern %s: %w", pattern, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if found := expression.FindStringSubmatch(t.String()); found != nil {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting to read %s: %w", pattern, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
