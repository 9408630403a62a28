package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"understudy.dev/understudy/operator/agent/settings"
)

// Exit codes of the program.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const usage = `usage: understudy-agent serve --config-dir=DIR    serve one owner until SIGTERM
       understudy-agent ready --config-dir=DIR    exit 0 if the pod is to take traffic
       understudy-agent ready --ask=SOCKET        exit 0 if the container is frozen
       understudy-agent install DIR               copy this program into DIR
       understudy-agent node  --config-dir=DIR    freeze a container of this node, and serve its owner until SIGTERM
       understudy-agent thaw  --pod=UID           thaw what is frozen of a pod of this node
`

// Run is the whole program: args without its name. It returns the exit code.
func Run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	var err error
	switch command, rest := args[0], args[1:]; command {
	case "serve":
		err = withConfigDir(command, rest, stderr, func(dir string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return serve(ctx, dir, stderr)
		})
	case "ready":
		// The kubelet shows a probe's output, on whichever stream, in its event.
		if path, ok := strings.CutPrefix(strings.Join(rest, " "), "--ask="); ok {
			// An agent on a node is in another network namespace than its pod, and
			// a probe may be put into either.
			err = askSoon(path)
		} else {
			err = withConfigDir(command, rest, stderr, askReady)
		}
		if err == nil {
			fmt.Fprintln(stdout, "ready")
		} else if !errors.Is(err, errUsage) {
			fmt.Fprintf(stdout, "not ready: %v\n", err)
			return exitFailed
		}
	case "install":
		if len(rest) != 1 {
			err = errUsage
			break
		}
		err = install(rest[0])
	case "guard":
		// Started by an agent that freezes, never by hand.
		return runGuard()
	case "node", "frozen", "thaw", "files":
		return runNode(command, rest, stderr)
	default:
		err = errUsage
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	fmt.Fprintf(stderr, "error: %v\n", err)
	return exitFailed
}

var errUsage = errors.New("wrong usage")

func withConfigDir(command string, args []string, stderr io.Writer, run func(dir string) error) error {
	flags := flag.NewFlagSet("understudy-agent "+command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("config-dir", settings.Directory, "where the operator's Secret is mounted")
	if err := flags.Parse(args); err != nil || flags.NArg() != 0 {
		return errUsage
	}
	return run(*dir)
}

// Main runs the program with the process's own arguments and exits.
func Main() { os.Exit(Run(os.Args[1:], os.Stdout, os.Stderr)) }
