package session

import (
	"context"
	"runtime"
	"testing"
)

// Watches are opened only between the manager's start and its end, which waits
// for those that are open.
func TestLifetime(t *testing.T) {
	var l lifetime
	isOpen := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.open()
	}
	if isOpen() {
		t.Error("watches may be opened before the start")
	}
	ctx, end := context.WithCancel(context.Background())
	release, done := make(chan struct{}), make(chan error)
	l.group.Go(func() { <-release })
	go func() { done <- l.Start(ctx) }()
	for !isOpen() {
		select {
		case err := <-done:
			t.Fatalf("it ended by itself: %v", err)
		default:
			runtime.Gosched()
		}
	}
	end()
	if isOpen() {
		t.Error("watches may be opened after the end")
	}
	select {
	case <-done:
		t.Error("the end did not wait for a watch")
	default:
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
