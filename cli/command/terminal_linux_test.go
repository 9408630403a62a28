package command

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

// screen is a terminal on which understudy was typed: stdin and stderr are the
// terminal, stdout a pipe.
type screen struct {
	*testing.T
	cmd      *exec.Cmd
	terminal *os.File
	stdout   bytes.Buffer
	ended    chan struct{}

	mu   sync.Mutex
	seen bytes.Buffer
	more chan struct{}
}

func typeOn(t *testing.T, columns uint16, env []string, args ...string) *screen {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if err := pty.Setsize(terminal, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	s := &screen{T: t, terminal: terminal, ended: make(chan struct{}), more: make(chan struct{})}
	s.cmd = exec.Command(program)
	s.cmd.Args = append([]string{"understudy"}, args...)
	s.cmd.Dir = t.TempDir()
	s.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.cmd.Dir, "TERM=xterm", "LANG=C.UTF-8"}, env...)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, &s.stdout, tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := terminal.Read(buffer)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.seen.Write(buffer[:n])
			close(s.more)
			s.more = make(chan struct{})
			s.mu.Unlock()
		}
	}()
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.ended
		terminal.Close()
	})
	return s
}

// sees waits until the terminal was shown something, from an offset on, and says
// where that ended.
func (s *screen) sees(from int, pattern string) int {
	s.Helper()
	expression := regexp.MustCompile(pattern)
	deadline := time.After(time.Minute)
	for {
		text, more := s.look()
		if at := expression.FindStringIndex(text[min(from, len(text)):]); at != nil {
			return from + at[1]
		}
		select {
		case <-more:
		case <-deadline:
			s.Fatalf("it never showed %q; at last there was:\n%q", pattern, text[max(len(text)-lastSeen, 0):])
		}
	}
}

// lastSeen is how much of a screen is printed when a test fails.
const lastSeen = 2000

// look is what the terminal was shown, and a channel that is closed when there is
// more. A terminal in its usual mode makes a carriage return and a line feed of
// each line feed.
func (s *screen) look() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ReplaceAll(s.seen.String(), "\r\r\n", "\r\n"), s.more
}

func (s *screen) exits(want int) {
	s.Helper()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		text, _ := s.look()
		s.Fatalf("it does not end; at last there was:\n%q", text[max(len(text)-lastSeen, 0):])
	}
	if got := s.cmd.ProcessState.ExitCode(); got != want {
		s.Errorf("the exit code is %d, not %d", got, want)
	}
}

// kubeconfigOf writes the kubeconfig of an API server's administrator.
func kubeconfigOf(t *testing.T) (file string, client *kubernetes.Clientset) {
	t.Helper()
	config := apitest.Config(t)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	raw := clientcmdapi.NewConfig()
	raw.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	raw.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
	raw.Contexts["admin"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "admin", Namespace: "default"}
	raw.CurrentContext = "admin"
	file = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*raw, file); err != nil {
		t.Fatal(err)
	}
	return file, client
}

// TestTerminal: on a terminal there is a tree that lives, as wide as the terminal
// is now; and Ctrl-C in the middle of a wait ends it all.
func TestTerminal(t *testing.T) {
	kubeconfig, client := kubeconfigOf(t)
	if _, err := client.AppsV1().Deployments("default").Create(t.Context(), deployment("staged", "app"), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	s := typeOn(t, 70, []string{"KUBECONFIG=" + kubeconfig}, "exec", "-f", "none", "-t", "deployment/staged", "--copy-target", "--scale-down", "--", "touch", "ran")
	at := s.sees(0, `\x1b\[32m✓\x1b\[0m deployment/staged in namespace default, container app, 1 replica \(\d`)
	// What is waited for, in the scheduler's own words, and how long; then the next.
	standIn := func(reason, message string) metav1.Condition {
		return metav1.Condition{Type: v1alpha1.ConditionStandInReady, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	}
	if err := sessionOf(t.Context(), client, "staged",
		metav1.Condition{Type: v1alpha1.ConditionClaimed, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone, Message: "Claimed."},
		standIn(v1alpha1.ReasonStandInPending, "0/2 nodes are available: 2 Insufficient memory, which is more than fits.")); err != nil {
		t.Fatal(err)
	}
	at = s.sees(at, `✓\x1b\[0m claimed deployment/staged`)
	at = s.sees(at, `starting the stand-in \(1\.\d s\)\r\n {12}└ 0/2 nodes are available: 2 Insufficient memory, which …`)
	if err := sessionOf(t.Context(), client, "staged", standIn(v1alpha1.ReasonStandInPending, `Pulling image "worker:2".`)); err != nil {
		t.Fatal(err)
	}
	at = s.sees(at, `├ 0/2 nodes are available: [^\r]*\r\n[^\r]*└ pulling image "worker:2" \(\d`)
	// The terminal becomes narrower.
	if err := pty.Setsize(s.terminal, &pty.Winsize{Rows: 24, Cols: 30}); err != nil {
		t.Fatal(err)
	}
	at = s.sees(at, `└ pulling image …`)
	if s.stdout.Len() > 0 {
		t.Errorf("on stdout there is %q", s.stdout.String())
	}

	// Ctrl-C, as the terminal sends it.
	if _, err := s.terminal.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	at = s.sees(at, `ending; once more leaves at once`)
	s.sees(at, `✓\x1b\[0m deployment/staged is as it was`)
	s.exits(130)
	if _, err := os.Stat(filepath.Join(s.cmd.Dir, "ran")); err == nil {
		t.Error("the command was run")
	}
	sessions, err := listSessions(t.Context(), client)
	if err != nil || slices.ContainsFunc(sessions, func(s v1alpha1.Session) bool { return s.Spec.Target.Name == "staged" }) {
		t.Errorf("the session is still there: %v", err)
	}
	if s.stdout.Len() > 0 {
		t.Errorf("on stdout there is %q", s.stdout.String())
	}
}

// TestTerminalPlainly: who wants no colours gets none, and who wants lines, or a
// terminal that cannot be drawn on, gets no tree.
func TestTerminalPlainly(t *testing.T) {
	for name, tc := range map[string]struct {
		env  []string
		args []string
		want string
		not  string
	}{
		"no colours":      {[]string{"NO_COLOR=1"}, nil, "\r\nerror: |^\rerror: ", "\x1b[1;31m"},
		"colours":         {[]string{"NO_COLOR="}, nil, "\x1b\\[1;31merror:", "\x1b[7m"},
		"a dumb terminal": {[]string{"TERM=dumb"}, nil, `error: `, "\x1b["},
		"lines":           {nil, []string{"--progress", "plain"}, `error: `, "\x1b["},
		"by a variable":   {[]string{"UNDERSTUDY_PROGRESS=json"}, nil, `\{"understudy":1,.*"event":"error"`, "\x1b["},
	} {
		t.Run(name, func(t *testing.T) {
			s := typeOn(t, 80, append([]string{"KUBECONFIG=/nonexistent"}, tc.env...), append(append([]string{"exec", "-f", "none", "-t", "deployment/x", "--copy-target"}, tc.args...), "--", "true")...)
			s.sees(0, tc.want)
			s.exits(125)
			if text, _ := s.look(); strings.Contains(text, tc.not) {
				t.Errorf("it showed %q", text)
			}
		})
	}
}

// TestTerminalHelp: help is as wide as the terminal to which it goes, and where it goes
// to a pager, as the one beside it.
func TestTerminalHelp(t *testing.T) {
	for _, columns := range []uint16{64, 100} {
		s := typeOn(t, columns, nil, "thaw", "--help") // stdout is a pipe
		s.exits(0)
		widest := 0
		for line := range strings.Lines(s.stdout.String()) {
			widest = max(widest, len(strings.TrimRight(line, "\n")))
		}
		if widest > int(columns) || widest < int(columns)-8 {
			t.Errorf("on %d columns the widest line has %d:\n%s", columns, widest, s.stdout.String())
		}
	}
}
