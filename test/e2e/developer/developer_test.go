package developer_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/developer"
)

func start(t *testing.T, command string) (*developer.Run, context.Context) {
	t.Helper()
	m, err := developer.NewMachine()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	d, err := m.Developer(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Start("/bin/sh", "-c", command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return r, ctx
}

// Whoever runs the tests, the commands do not run as root.
func TestNotRoot(t *testing.T) {
	r, ctx := start(t, "id -u; exit 7")
	if code, err := r.Exit(ctx); err != nil || code != 7 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if uid := strings.TrimSpace(r.Out.String()); uid == "0" || uid == "" {
		t.Errorf("it ran as user %q", uid)
	}
}

// An orphan is still one of the run's processes.
func TestProcessesHaveNoParentToFindThemBy(t *testing.T) {
	r, ctx := start(t, "(sleep 60 & echo started)")
	if code, err := r.Exit(ctx); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err) // the orphan holds the output open
	}
	if r.Out.String() != "started\n" {
		t.Errorf("it said %q", r.Out)
	}
	if found := r.Of("sleep"); len(found) != 1 {
		t.Errorf("processes: %+v", r.Processes())
	}
}

// A shell on a terminal suspends and continues what it started.
func TestTerminal(t *testing.T) {
	m, err := developer.NewMachine()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d, err := m.Developer(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := d.StartOnTerminal("/bin/bash", "--norc", "-i")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Kill()
	type_ := func(text, answer string) {
		t.Helper()
		if _, err := r.Terminal.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Out.Saw(ctx, answer); err != nil {
			t.Fatalf("%v\n%s", err, r)
		}
	}
	// What is typed while the shell takes its terminal back may be lost, so that it
	// waits for the prompt; and a shell that is between vfork and exec when the
	// terminal stops its group is never seen to stop, so that nothing forks.
	type_("", `\$ $`)
	type_("tty; echo it is $?\r", `(?s)it is 0.*\$ $`)
	type_("sh -c 'echo up; exec cat'\r", "(?m)^up")
	type_("\x1a", `(?s)Stopped.*\$ $`)
	type_("fg\r", `fg\s+sh -c`)
	type_("\x03", `(?s)\^C.*\$ $`)
	type_("echo it ended with $?\r", "it ended with 130")
}

// A process that a signal ends has the exit code that a shell would say.
func TestSignalled(t *testing.T) {
	r, ctx := start(t, "exec sleep 60")
	if err := r.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code, err := r.Exit(ctx); err != nil || code != 137 {
		t.Errorf("exit code %d, %v", code, err)
	}
}
