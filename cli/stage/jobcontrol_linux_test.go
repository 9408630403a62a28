package stage

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// shell is an interactive shell on a terminal of its own.
type shell struct {
	*show
	terminal *os.File
}

func beginShell(t *testing.T, p player, s script) *shell {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash: job control is not tested here")
	}
	c := command(t, p, s)
	c.Path, c.Args = bash, []string{"bash", "--norc", "--noprofile", "--noediting", "-i"}
	c.Env = append(c.Env, "PS1=$ ", "HISTFILE=", "PROGRAM="+program(t), "CLIENT="+client(t))
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Setsid, c.SysProcAttr.Setctty = true, true
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if err := tty.Chmod(0o666); err != nil {
		t.Fatal(err)
	}
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	sh := &shell{show: &show{Cmd: c, t: t, ended: make(chan struct{})}, terminal: terminal}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := terminal.Read(buffer)
			if err != nil {
				return
			}
			sh.Write([]byte(strings.ReplaceAll(string(buffer[:n]), "\r", "")))
		}
	}()
	go func() { c.Wait(); close(sh.ended) }()
	t.Cleanup(func() {
		// A shell that is killed leaves its jobs.
		for _, pid := range pids() {
			if session, err := unix.Getsid(pid); err == nil && session == c.Process.Pid {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		<-sh.ended
		terminal.Close()
	})
	sh.expect("$ ")
	return sh
}

// types types, and forgets what was said before.
func (s *shell) types(keys string) {
	s.t.Helper()
	s.mu.Lock()
	s.said.Reset()
	s.mu.Unlock()
	if _, err := s.terminal.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// count is a command that shows that it runs. It has no children: a shell that
// waits in vfork for one which is stopped cannot be stopped itself.
const count = `"$CLIENT" tick`

func TestJobControl(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		directory := shared(t)
		sh := beginShell(t, p, script{Directory: directory})
		sh.types(`"$PROGRAM" ` + count + "\n")
		sh.expect("tick 3")
		keeper := logged(t, directory, "keeper ")

		sh.types("\x1a") // Ctrl-Z
		sh.expect("Stopped")
		sh.expect("$ ")
		jobs := func() string {
			sh.types("jobs -l; echo 'no'' more'\n")
			sh.expect("no more")
			return sh.text()
		}
		if listed := jobs(); !strings.Contains(listed, "Stopped  ") {
			t.Errorf("the shell lists %s", listed)
		}
		// The command is stopped, and the keeper is not.
		ticks := ticking(sh)
		if ticks {
			t.Error("the command goes on after Ctrl-Z")
		}
		if state := stateOf(keeper); state == "T" || state == "" {
			t.Errorf("the keeper is in state %q", state)
		}

		sh.types("fg\n")
		sh.expect("tick ")
		sh.types("\x1a")
		sh.expect("Stopped")
		sh.types("bg\n")
		sh.expect("tick ")
		sh.types("kill -STOP %1\n") // what no process can catch
		eventually(t, func() error {
			if listed := jobs(); !strings.Contains(listed, "Stopped (signal)") {
				return fmt.Errorf("the shell lists %s", listed)
			}
			return nil
		})
		sh.types("fg\n")
		sh.expect("tick ")
		sh.types("\x03") // Ctrl-C
		sh.types("\necho code=$?.\n")
		sh.expect("code=130.")
		eventually(t, func() error {
			if alive(keeper) {
				return fmt.Errorf("the keeper is alive")
			}
			return nil
		})
	})
}

// ticking says whether the command says anything more.
func ticking(sh *shell) bool {
	sh.types("echo a; sleep 0.1; echo b\n")
	sh.expect("\nb\n")
	return strings.Contains(sh.text(), "tick")
}

// A command that reads from the terminal in the background is stopped by the
// kernel, and the shell hears of it; in the foreground it reads on.
func TestTheTerminalBelongsToTheCommand(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		sh := beginShell(t, p, script{})
		sh.types(`"$PROGRAM" sh -c 'stty size; read line; echo "it read $line"; test -t 0 && echo a terminal' &` + "\n")
		eventually(t, func() error {
			sh.types("jobs -l; echo o''k\n")
			sh.expect("ok")
			if !strings.Contains(sh.text(), "Stopped (tty input)") {
				return fmt.Errorf("the shell says %s", sh.text())
			}
			return nil
		})
		sh.types("fg\n")
		sh.expect("stty")
		sh.types("something\n")
		sh.expect("it read something")
		sh.expect("a terminal")
	})
}

func TestWindowSizeChangesReachTheCommand(t *testing.T) {
	sh := beginShell(t, players(t)[0], script{})
	sh.types(`"$PROGRAM" bash -c 'trap "stty size; exit" WINCH; echo rea''dy; while :; do sleep 0.02; done'` + "\n")
	sh.expect("ready")
	if err := pty.Setsize(sh.terminal, &pty.Winsize{Rows: 33, Cols: 101}); err != nil {
		t.Fatal(err)
	}
	sh.expect("33 101")
}

// Each signal arrives exactly once, however it was sent.
func TestSignalsAreNotDoubled(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		sh := beginShell(t, p, script{})
		sh.types(`"$PROGRAM" "$CLIENT" signals` + "\n")
		command := sh.expect("ready ")
		front := parentOf(parentOf(command))
		ways := []struct {
			name string
			send func()
			want string
		}{
			{"to the front alone", func() { kill(t, front, syscall.SIGINT) }, "got interrupt"},
			{"to the group", func() { kill(t, "-"+front, syscall.SIGINT) }, "got interrupt"},
			{"by the terminal", func() { sh.types("\x03") }, "got interrupt"},
			{"quit by the terminal", func() { sh.types("\x1c") }, "got quit"},
			{"TERM to the front alone", func() { kill(t, front, syscall.SIGTERM) }, "got terminated"},
			{"TERM to the group", func() { kill(t, "-"+front, syscall.SIGTERM) }, "got terminated"},
			{"USR1 to the front alone", func() { kill(t, front, syscall.SIGUSR1) }, "got user defined signal 1"},
			{"HUP to the front alone", func() { kill(t, front, syscall.SIGHUP) }, "got hangup"},
			{"to the command alone", func() { kill(t, command, syscall.SIGINT) }, "got interrupt"},
		}
		for _, way := range ways {
			sh.types("")
			way.send()
			sh.expect(way.want)
			// What comes twice comes before what is sent after it.
			kill(t, front, syscall.SIGUSR1)
			sh.expect("got user defined signal 1")
			if n := strings.Count(sh.text(), way.want); n != 1 && way.want != "got user defined signal 1" {
				t.Errorf("%s: it came %d times: %s", way.name, n, sh.text())
			}
		}
		kill(t, front, syscall.SIGUSR2)
		sh.types("\necho code=$?.\n")
		sh.expect("code=0.")
	})
}

// Before the command runs signals are the keeper's to answer.
func TestSignalsBeforeTheCommandAreTheKeepers(t *testing.T) {
	directory := shared(t)
	s := begin(t, command(t, players(t)[0], script{Directory: directory, WaitForSignal: true}, "true"))
	logged(t, directory, "keeper ")
	kill(t, fmt.Sprint(s.Process.Pid), syscall.SIGTERM)
	if got := logged(t, directory, "signal "); got != "terminated" {
		t.Errorf("the keeper heard of %s", got)
	}
	if code := s.exitCode(); code != 95 {
		t.Errorf("exit code %d", code)
	}
}
