//go:build linux

package cue

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func pair(t *testing.T) (*Line, *Line) {
	t.Helper()
	a, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestMessagesKeepTheirOrderAndTheirFiles(t *testing.T) {
	a, b := pair(t)
	large := strings.Repeat("x", 3<<20) // far more than a socket's buffer
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sent := make(chan error, 1)
	go func() {
		if err := a.Send("first"); err != nil {
			sent <- err
			return
		}
		if err := a.Send(large, w); err != nil {
			sent <- err
			return
		}
		w.Close()
		sent <- a.Send("last")
	}()
	for i, want := range []string{"first", large, "last"} {
		var got string
		files, err := b.Receive(&got)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("message %d: %d bytes, want %d", i, len(got), len(want))
		}
		if (len(files) == 1) != (i == 1) {
			t.Fatalf("message %d came with %d files", i, len(files))
		}
		for _, file := range files {
			if _, err := file.WriteString("through"); err != nil {
				t.Fatal(err)
			}
			file.Close()
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "through" {
		t.Fatalf("read %q, %v from the passed pipe", got, err)
	}
}

func TestReceiveEndsWithThePeer(t *testing.T) {
	a, b := pair(t)
	if err := a.Send("unread"); err != nil {
		t.Fatal(err)
	}
	b.Close()
	var got string
	if _, err := a.Receive(&got); !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, want io.EOF", err)
	}
}
