// Package command is the command line of the test cluster: it reads arguments,
// calls package cluster and prints. Data goes to stdout, all else to stderr.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"understudy.dev/understudy/test/cluster/cluster"
	"understudy.dev/understudy/test/cluster/layout"
)

// Exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

const usage = `usage: cluster COMMAND

  up                          bring the cluster up, from whatever state it is in
  down                        end it; nothing of it stays but the built programs
  status                      what runs; exit code 1 when the cluster is not up
  env                         shell variables: KUBECONFIG and the paths of programs
  binaries [NAME ...]         build only these programs; without a name all that
                              the cluster needs (keda, rollouts-controller are more)

  load [--missing] FILE ...   import image archives on both nodes; with --missing
                              those only whose name a node does not have yet
  image --name NAME [--root FOLDER] --file OUTSIDE=/INSIDE ... -o FILE
                              make an image archive of static programs, or of
                              what lies in a folder
  debian rabbitmq|redis       unpack Debian's packages of it, with what they need,
                              to be the root of an image; prints the folder
  push FILE NAME              push an image archive to a registry, as registry/path:tag,
                              with what docker login has left
  user NAME [--group G ...]   print a kubeconfig for a user of that name

  stop [--kill] COMPONENT ... stop components: apiserver, etcd, controller-manager,
                              scheduler, node-1/kubelet, node-1/containerd, node-1/kube-proxy
  start COMPONENT ...         start stopped ones and wait until they are ready
  restart [--kill] COMPONENT ...
  exec MACHINE -- COMMAND ... run a command inside of control, node-1 or node-2

Without root only env, image, push, binaries and (once apt has its lists) debian work.
`

// errUsage is what the caller did wrong; the usage is shown.
var errUsage = errors.New("wrong usage")

// tool is what the commands work with.
type tool struct {
	cluster     *cluster.Cluster
	layout      layout.Layout
	out, errOut io.Writer
}

// Main runs one command and returns the exit code.
func Main(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, args, out, errOut)
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintf(errOut, "error: %v\n%s", err, usage)
		return exitUsage
	case errors.Is(err, cluster.ErrDown):
		fmt.Fprintf(errOut, "error: %v\nhint: run `make cluster-up`\n", err)
		return exitFailed
	case err != nil:
		fmt.Fprintf(errOut, "error: %v\n", err)
		return exitFailed
	}
	return code
}

func run(ctx context.Context, args []string, out, errOut io.Writer) (int, error) {
	if len(args) == 0 {
		return exitUsage, fmt.Errorf("%w: no command", errUsage)
	}
	l, err := layout.FromEnvironment()
	if err != nil {
		return exitFailed, err
	}
	module, err := moduleFolder()
	if err != nil {
		return exitFailed, err
	}
	t := tool{cluster: cluster.New(l, module, errOut), layout: l, out: out, errOut: errOut}
	rest := args[1:]
	switch args[0] {
	case "up":
		return exitOK, t.cluster.Up(ctx)
	case "down":
		return exitOK, t.cluster.Down(ctx)
	case "status":
		return t.status()
	case "env":
		return exitOK, t.env()
	case "binaries":
		return exitOK, t.cluster.Builder.Ensure(ctx, rest...)
	case "load":
		return exitOK, t.load(ctx, rest)
	case "debian":
		return exitOK, t.debian(ctx, rest)
	case "image":
		return exitOK, t.image(rest)
	case "push":
		return exitOK, t.push(ctx, rest)
	case "user":
		return exitOK, t.user(rest)
	case "stop", "start", "restart":
		return exitOK, t.control(ctx, args[0], rest)
	case "exec":
		return t.exec(ctx, rest)
	case "help", "-h", "--help":
		fmt.Fprint(out, usage)
		return exitOK, nil
	}
	return exitUsage, fmt.Errorf("%w: no command %q", errUsage, args[0])
}

// moduleFolder finds this module from within it or from the checkout's root.
func moduleFolder() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the test cluster's module: %w", err)
	}
	for folder := at; ; folder = filepath.Dir(folder) {
		for _, candidate := range []string{folder, filepath.Join(folder, "test", "cluster")} {
			content, err := os.ReadFile(filepath.Join(candidate, "go.mod"))
			if err == nil && strings.HasPrefix(string(content), "module understudy.dev/understudy/test/cluster\n") {
				return candidate, nil
			}
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("finding the test cluster's module: %s is not in a checkout", at)
		}
	}
}

// list collects a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, " ") }
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// parse reads flags that may stand before and after the arguments, and returns the arguments.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	flags.SetOutput(io.Discard)
	var arguments []string
	for {
		if err := flags.Parse(args); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errUsage, flags.Name(), err)
		}
		if flags.NArg() == 0 {
			return arguments, nil
		}
		arguments = append(arguments, flags.Arg(0))
		args = flags.Args()[1:]
	}
}
