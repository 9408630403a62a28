package story

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	understudy "understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/workload"
)

// family is a local command with a child and a grandchild that ignores SIGTERM
// and SIGINT, so that only who really looks after them ends them.
const family = `
echo family is up
sh -c 'trap "" TERM INT; setsid sleep 1000 & sleep 1001' &
%s
`

// However the command line tool ends, the workload comes back as it was and no
// process of it stays on my machine.
func TestEndings(t *testing.T) {
	const lease = 8 * time.Second
	stay := fmt.Sprintf(family, "wait")
	endings := []struct {
		name   string
		script string
		end    func(s *scene, r *developer.Run)
		code   int
		// expires: nobody is left to say goodbye, so it takes the lease.
		expires bool
	}{
		{name: "exit 0", script: fmt.Sprintf(family, "exit 0"), code: 0},
		{name: "exit 7", script: fmt.Sprintf(family, "exit 7"), code: 7},
		{name: "Ctrl-C", script: stay, code: 130, end: func(s *scene, r *developer.Run) { s.must(r.Interrupt()) }},
		{name: "SIGTERM", script: stay, code: 143, end: func(s *scene, r *developer.Run) { s.must(r.Signal(syscall.SIGTERM)) }},
		// The one that I see in ps and kill. What is behind it still says goodbye.
		{name: "SIGKILL", script: stay, code: 137, end: func(s *scene, r *developer.Run) { s.must(r.Signal(syscall.SIGKILL)) }},
		// The one that keeps the session, by the out-of-memory killer perhaps.
		{name: "SIGKILL of the keeper", script: stay, code: 125, expires: true, end: func(s *scene, r *developer.Run) {
			s.must(syscall.Kill(s.keeper(r), syscall.SIGKILL))
		}},
		// All of it at once: the machine is switched off.
		{name: "SIGKILL of everything", script: stay, code: 137, expires: true, end: func(_ *scene, r *developer.Run) { r.Kill() }},
	}
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.start("web", workload.Options{Replicas: 2})
			before := s.remember("web", 2)

			run := s.takeOver("deployment/web", []string{"--lease", lease.String()}, "sh", "-c", e.script)
			began := time.Now()
			if e.end != nil {
				s.ready(run, "family is up")
				began = time.Now()
				e.end(s, run)
			}
			s.exits(run, e.code)
			s.nobodyLeft(run)
			if e.expires {
				s.staysHeld("web", began.Add(lease/2))
				s.ended(understudy.ReasonLeaseExpired)
			}
			s.unchanged(before)
		})
	}
}

// keeper is the process of the tool that keeps the session: of the children of
// the one that was started the one with a process group of its own. Its pid need
// not be the least of them, as pids begin anew one day.
func (s *scene) keeper(r *developer.Run) int {
	s.Helper()
	for _, p := range r.Of("understudy") {
		if group, err := syscall.Getpgid(p.PID); err == nil && group == p.PID && parent(p.PID) == r.PID() {
			return p.PID
		}
	}
	s.Fatalf("the command has no keeper: %+v", r.Processes())
	return 0
}

// staysHeld fails when the deployment comes back before the moment.
func (s *scene) staysHeld(name string, until time.Time) {
	s.Helper()
	err := cluster.Until(s.within(patience), func(context.Context) error {
		if wished, pods := s.replicas(name); wished != 0 || len(pods) != 0 {
			s.Fatalf("it wishes %d replicas and has the pods %v, %s before it should", wished, pods, time.Until(until))
		}
		if left := time.Until(until); left > 0 {
			return fmt.Errorf("%s to go", left)
		}
		return nil
	})
	s.must(err)
}

// Ctrl-Z for longer than the lease: my command stands still, the session goes
// on, and so does my command after fg.
func TestSuspended(t *testing.T) {
	t.Parallel()
	const lease = 6 * time.Second
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 2})
	before := s.remember("web", 2)

	// I start it in my shell, on my terminal. It forks nothing: a shell that is between
	// vfork and exec when the terminal stops its group is never seen to stop.
	shell, err := s.dev.StartOnTerminal("/bin/bash", "--norc", "-i")
	s.must(err)
	s.runs = append(s.runs, shell)
	// What is typed while the shell takes its terminal back may be lost, so that each
	// command waits for the prompt, as I would.
	s.types(shell, "", `\$ $`)
	s.types(shell, "understudy exec -t deployment/web --copy-target --scale-down --lease 6s -- bash -c 'i=0; while ! read -t 0.2; do i=$((i+1)); echo tick $i; done'\r", `tick 3\b`)

	// I press Ctrl-Z. The shell is mine again, and nothing ticks.
	s.types(shell, "\x1a", `(?s)Stopped.*\$ $`)
	ticks := shell.Out.String()
	suspended := time.Now()
	s.staysHeld("web", suspended.Add(lease*5/2))
	if now := shell.Out.String(); len(now) > len(ticks)+200 {
		t.Errorf("it went on while it was suspended: %q", now[len(ticks):])
	}

	// fg: it goes on, in the same session.
	s.types(shell, "echo back at $((6*7))\r", `(?s)back at 42.*\$ $`)
	s.types(shell, "fg\r", `(?s)back at 42.*tick`)

	// Ctrl-C ends it as any command; the workload is back.
	s.types(shell, "\x03", `\$ $`)
	s.types(shell, "echo it ended with $?\r", "it ended with 130")
	s.unchanged(before)
}

// types types on a terminal and waits for what appears.
func (s *scene) types(shell *developer.Run, keys, appears string) {
	s.Helper()
	_, err := shell.Terminal.WriteString(keys)
	s.must(err)
	if _, err := shell.Out.Saw(s.within(patience), appears); err != nil {
		s.Fatalf("typing %q: %v", keys, err)
	}
}
