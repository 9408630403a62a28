package stage

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestExitCodes(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		table := []struct {
			args []string
			want int
			says string
		}{
			{[]string{"true"}, 0, ""},
			{[]string{"sh", "-c", "exit 7"}, 7, ""},
			{[]string{"sh", "-c", "kill -TERM $$"}, 128 + 15, ""},
			{[]string{"sh", "-c", "kill -KILL $$"}, 128 + 9, ""},
			{[]string{"there-is-no-such-command"}, 127, "error: looking up the command: there-is-no-such-command: no such file or directory"},
			{[]string{"/there/is/no/such/command"}, 127, "no such file or directory"},
			{[]string{"/etc/passwd"}, 126, "permission denied"},
		}
		for _, test := range table {
			s := begin(t, command(t, p, script{}, test.args...))
			if got := s.exitCode(); got != test.want || !strings.Contains(s.text(), test.says) {
				t.Errorf("%q: exit code %d, want %d; it said %q, want %q", test.args, got, test.want, s.text(), test.says)
			}
		}
	})
}

// A script without an interpreter line is what execvp gives to the shell.
func TestAScriptWithoutAnInterpreterIsRun(t *testing.T) {
	directory := shared(t)
	if err := os.WriteFile(directory+"/script", []byte("echo it ran with $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := output(t, players(t)[0], script{}, directory+"/script", "this"); got != "it ran with this" {
		t.Errorf("got %q", got)
	}
}

// Names, arguments and variables are bytes.
func TestWhatIsNotUTF8StaysAsItIs(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		directory := shared(t) + "/caf\xe9"
		if err := os.Mkdir(directory, 0o755); err != nil {
			t.Fatal(err)
		}
		c := command(t, p, script{}, "sh", "-c", `printf '%s %s ' "$1" "$LATIN" | od -An -tx1; pwd | od -c | grep -c 351`, "sh", "\xe4\xff")
		c.Dir = directory
		c.Env = append(c.Env, "LATIN=\xe4")
		out, err := c.CombinedOutput()
		if err != nil || string(out) != " e4 ff 20 e4 20\n1\n" {
			t.Errorf("the command says %q, %v", out, err)
		}
	})
}

func TestTheCommandKeepsWhatTheUserHas(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		directory := shared(t)
		c := command(t, p, script{}, "sh", "-c", `id -u; pwd; grep -E '^(CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs|SigBlk|SigIgn)' /proc/self/status; hostname; cat <&9`)
		c.Dir = directory
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(writer, "through descriptor 9")
		writer.Close()
		// The shell's own redirections, as in `exec 9<file`.
		for len(c.ExtraFiles) < 7 {
			c.ExtraFiles = append(c.ExtraFiles, reader)
		}
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		const none = "0000000000000000"
		want := fmt.Sprintf("%d\n%s\nSigBlk:\t%s\nSigIgn:\t%s\nCapInh:\t%s\nCapPrm:\t%s\nCapEff:\t%s\nCapAmb:\t%s\nNoNewPrivs:\t0\nworker-0\nthrough descriptor 9\n",
			p.uid, directory, none, ignoredHere(t), none, none, none, none)
		if string(out) != want {
			t.Errorf("got\n%s\nwant\n%s", out, want)
		}
	})
}

// ignoredHere is the set of signals that this process ignores, as the kernel
// writes it; whoever started the tests may have chosen some.
func ignoredHere(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if set, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			return strings.TrimSpace(set)
		}
	}
	t.Fatal("the kernel does not say which signals are ignored")
	return ""
}

// Root gets no capability back by running a program that is owned by root and
// sets the user ID, nor by any other.
func TestRootHasNoCapabilitiesEither(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	got := output(t, player{"root", 0, DeviceVeth}, script{}, "sh", "-c", "grep CapEff /proc/self/status; sh -c 'grep CapEff /proc/self/status'; hostname other 2>&1 || echo no")
	if strings.Count(got, "CapEff:\t0000000000000000") != 2 || !strings.HasSuffix(got, "no") {
		t.Errorf("got %s", got)
	}
}

func TestLowPortsMayBeBound(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		s := begin(t, command(t, p, script{}, client(t), "listen", "10.98.0.1:80", "[fd00:98::1]:443"))
		s.expect("listening on [fd00:98::1]:443")
	})
}

// Whichever process is killed, nothing of the command survives: not its
// children, nor a daemon in a session of its own.
func TestNothingSurvivesWhenOneIsKilled(t *testing.T) {
	victims := map[string]func(front string, directory string, said *show) []string{
		"front":  func(front, _ string, _ *show) []string { return []string{front} },
		"keeper": func(_, directory string, _ *show) []string { return []string{logged(t, directory, "keeper ")} },
		"hand":   func(_, _ string, s *show) []string { return []string{parentOf(s.expect("command "))} },
		"front and keeper": func(front, directory string, _ *show) []string {
			return []string{front, logged(t, directory, "keeper ")}
		},
		"front and hand": func(front, _ string, s *show) []string { return []string{front, parentOf(s.expect("command "))} },
		"keeper and hand": func(_, directory string, s *show) []string {
			return []string{logged(t, directory, "keeper "), parentOf(s.expect("command "))}
		},
	}
	eachPlayer(t, func(t *testing.T, p player) {
		for name, victim := range victims {
			t.Run(name, func(t *testing.T) {
				directory := shared(t)
				s := begin(t, command(t, p, script{Directory: directory}, client(t), "daemon"))
				main, daemon := s.expect("command "), s.expect("daemon ")
				front, keeper := fmt.Sprint(s.Process.Pid), logged(t, directory, "keeper ")
				hand := parentOf(main)
				for _, pid := range victim(front, directory, s) {
					kill(t, pid, syscall.SIGKILL)
				}
				eventually(t, func() error {
					for what, pid := range map[string]string{"command": main, "daemon": daemon, "hand": hand, "front": front, "keeper": keeper} {
						if alive(pid) {
							return fmt.Errorf("the %s, %s, is alive in state %s", what, pid, stateOf(pid))
						}
					}
					return nil
				})
				code := s.exitCode()
				switch {
				case name == "keeper" && (code != 97 || !strings.Contains(s.text(), "error: the process that keeps the session was ended by signal 9 (killed); the local process was killed\nhint: the hint")):
					t.Errorf("exit code %d, and it said %s", code, s.text())
				case name == "hand" && (code != 96 || !strings.Contains(s.text(), ErrHandLost.Error())):
					t.Errorf("exit code %d, and it said %s", code, s.text())
				case name == "front" && logged(t, directory, "ended ") == "":
					t.Error("the keeper did not go on to its end")
				}
			})
		}
	})
}

// What a command leaves behind would be without network: it ends with it.
func TestDaemonsEndWithTheCommand(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		s := begin(t, command(t, p, script{}, client(t), "daemon"))
		main, daemon := s.expect("command "), s.expect("daemon ")
		kill(t, main, syscall.SIGKILL)
		if code := s.exitCode(); code != 128+9 {
			t.Errorf("exit code %d", code)
		}
		if alive(daemon) {
			t.Error("the daemon is alive")
		}
	})
}

func TestTheKeeperCanEndTheCommand(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		// It ignores SIGTERM.
		directory := shared(t)
		s := begin(t, command(t, p, script{Directory: directory, EndGrace: 50_000_000}, client(t), "daemon"))
		main, daemon := s.expect("command "), s.expect("daemon ")
		put(t, directory, "end", []byte{})
		logged(t, directory, "end <nil>")
		if alive(main) || alive(daemon) {
			t.Error("something is alive after End")
		}
		s.exitCode()

		// And one that does not.
		directory = shared(t)
		s = begin(t, command(t, p, script{Directory: directory, EndGrace: patience}, "sh", "-c", "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.01; done"))
		s.expect("ready")
		put(t, directory, "end", []byte{})
		if code := s.exitCode(); code != 3 || !strings.Contains(s.text(), "asked") {
			t.Errorf("exit code %d, and it said %s", code, s.text())
		}
	})
}

func kill(t testing.TB, pid string, signal syscall.Signal) {
	t.Helper()
	var number int
	if _, err := fmt.Sscan(pid, &number); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(number, signal); err != nil {
		t.Fatal(err)
	}
}

func parentOf(pid string) string {
	data, _ := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(data), ") ")
	if fields := strings.Fields(rest); len(fields) > 1 {
		return fields[1]
	}
	return ""
}
