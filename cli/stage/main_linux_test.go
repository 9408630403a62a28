package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/operator/tunnel"
)

// scriptVariable makes the test's binary a program with a stage: what a script
// (JSON) says is built, and the arguments are run on it.
const scriptVariable = "STAGE_TEST_SCRIPT"

type script struct {
	Welcome tunnel.Welcome
	Trees   map[string]tunnel.Tree
	Device  Device
	// Files under which the program leaves what it learns and hears what to do.
	Directory string
	Publish   bool
	// Pod is the folder that is the pod's root, of which Shown is seen at its own
	// paths; a file "cut" in Directory puts it out of reach.
	Pod   string
	Shown []string
	// Machine are paths of this machine's below those that are shown.
	Machine string
	// Written are paths of the pod's that may be written.
	Written string
	// EndGrace is what the keeper ends the command with.
	EndGrace time.Duration
	// EndBySignal ends all when the user sends a signal that is the keeper's to heed.
	EndBySignal bool
	// WaitForSignal instead of building a stage.
	WaitForSignal bool
}

func TestMain(m *testing.M) {
	Main()
	if text, ok := os.LookupEnv(scriptVariable); ok {
		os.Exit(perform(text))
	}
	heedSignals()
	code := m.Run()
	removeBinaries()
	os.Exit(code)
}

// heedSignals makes the tests independent of who started them: under nohup, or
// in a shell's background, some signals are ignored, and what is ignored stays
// so in every program that is started from here.
func heedSignals() {
	heard := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP} {
		if signal.Ignored(s) {
			signal.Notify(heard, s)
		}
	}
}

// perform is what an exec command is, without a cluster.
func perform(text string) int {
	front, err := Split(SplitOptions{LostExitCode: 97, LostHint: "the hint"})
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 98
	}
	var s script
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 98
	}
	say := func(format string, args ...any) {
		if s.Directory == "" {
			return
		}
		file, err := os.OpenFile(s.Directory+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
		if err == nil {
			fmt.Fprintf(file, format+"\n", args...)
			file.Close()
		}
	}
	say("keeper %d", os.Getpid())
	if s.WaitForSignal {
		select {
		case signal := <-front.Signals():
			say("signal %v", signal)
			return 95
		case <-front.Lost():
			say("lost")
			return 94
		}
	}
	ctx := context.Background()
	stage, err := front.Build(ctx, localRemote{trees: s.Trees, directory: s.Directory}, Options{
		Welcome: s.Welcome, Device: s.Device, DoNotPublish: !s.Publish, Files: s.files(),
		OnNotice:    func(n Notice) { say("notice %s", n.Text) },
		OnListening: func(l Listening) { say("listening %+v", l) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 98
	}
	defer stage.Close()
	go obey(ctx, stage, s, say)
	if s.EndBySignal {
		go func() {
			<-front.Signals()
			_ = stage.End(ctx, 0)
			os.Exit(95)
		}()
	}

	environment := []string{}
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, scriptVariable+"=") {
			environment = append(environment, entry)
		}
	}
	if err := stage.Run(ctx, Command{Args: os.Args[1:], Env: environment}); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return 127
		case errors.Is(err, fs.ErrPermission):
			return 126
		}
		return 98
	}
	status, err := stage.Wait(ctx)
	say("ended %v %v", status, err)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 96
	}
	return status.ExitCode()
}

// obey does what the test asks for by making files in the directory.
func obey(ctx context.Context, stage *Stage, s script, say func(string, ...any)) {
	if s.Directory == "" {
		return
	}
	for range time.Tick(5 * time.Millisecond) {
		if data, ok := taken(s.Directory + "/loopback"); ok {
			var endpoints []tunnel.Endpoint
			err := json.Unmarshal(data, &endpoints)
			say("loopback %v", errors.Join(err, stage.SetLoopbackPorts(ctx, endpoints)))
		}
		if data, ok := taken(s.Directory + "/refresh"); ok {
			say("refresh %v", stage.RefreshMount(ctx, tunnel.Mount{Path: string(data)}))
		}
		if data, ok := taken(s.Directory + "/welcome"); ok {
			var welcome tunnel.Welcome
			err := json.Unmarshal(data, &welcome)
			say("welcome %v", errors.Join(err, stage.SetWelcome(ctx, welcome)))
		}
		if _, ok := taken(s.Directory + "/end"); ok {
			say("end %v", stage.End(ctx, s.EndGrace))
		}
	}
}

func taken(path string) ([]byte, bool) {
	data, err := os.ReadFile(path)
	return data, err == nil && os.Remove(path) == nil
}

var podAddresses = []netip.Addr{netip.MustParseAddr("10.98.0.1"), netip.MustParseAddr("fd00:98::1")}
