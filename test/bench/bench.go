package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/test/e2e/cluster"
	"understudy.dev/understudy/test/e2e/developer"
	"understudy.dev/understudy/test/e2e/traffic"
	"understudy.dev/understudy/test/e2e/workload"
)

const (
	// target is the workload whose place is taken, and its container's name.
	target = "traffic"
	// replicas and grace (seconds) of the target. It ends at once by SIGTERM,
	// so the grace period is never used up.
	replicas = 3
	grace    = 5
	// patience bounds every single wait.
	patience = 90 * time.Second
)

// bench is where everything is measured: a namespace, and a developer in it.
type bench struct {
	cluster   *cluster.Cluster
	namespace string
	user      *cluster.User
	dev       *developer.Developer
	director  *traffic.Director
	socket    string
	rows      []row
	notes     []string
}

// part can be asked for by name.
type part struct {
	name    string
	measure func(*bench, context.Context) error
}

var parts = []part{
	{"changing", (*bench).takeOver},
	{"freezing", (*bench).freezing},
	{"connections", (*bench).connections},
}

// measure sets up, measures the parts that are asked for (none is all), prints
// and clears away.
func measure(ctx context.Context, asked []string) (err error) {
	for _, name := range asked {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("there is no part %q to measure", name)
		}
	}
	begun := time.Now()
	c, err := cluster.Connect()
	if err != nil {
		return err
	}
	machine, err := developer.NewMachine(os.Getenv("E2E_PROGRAMS"), os.Getenv("E2E_BIN"), os.Getenv("BENCH_PROGRAMS"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	b := &bench{cluster: c}
	defer func() {
		if err != nil && b.namespace != "" {
			report, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer stop()
			fmt.Fprintln(os.Stderr, c.Report(report, b.namespace))
		}
		err = errors.Join(err, b.leave(context.WithoutCancel(ctx)))
	}()
	b.say("setting up: a far end and %d replicas of what is replaced", replicas)
	if err := b.enter(ctx, machine); err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	for _, p := range parts {
		if len(asked) > 0 && !slices.Contains(asked, p.name) {
			continue
		}
		if err := p.measure(b, ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\n%d CPUs, %s, load before and after: %s and %s; each figure is the median (and between what all runs lay)\n\n",
		runtime.NumCPU(), time.Since(begun).Round(time.Second), loadAtStart, load())
	write(os.Stdout, b.rows)
	for _, note := range b.notes {
		fmt.Println("\n" + note)
	}
	return nil
}

// loadAtStart tells whoever reads the figures whether the machine was quiet.
var loadAtStart = load()

// load is how many processes wanted a CPU during the last minute.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	var last string
	if _, err := fmt.Sscan(string(data), &last); err != nil {
		return "unknown"
	}
	return last
}

// say tells what is being done; the table alone goes to the standard output.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// enter makes the namespace, what runs in it, and a developer who has the
// chart's user role and may forward ports, which the floors need.
func (b *bench) enter(ctx context.Context, machine *developer.Machine) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	namespace, err := b.cluster.Client.CoreV1().Namespaces().Create(ctx, &core.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	b.namespace = namespace.Name
	if err := workload.Start(ctx, b.cluster, b.namespace, target, workload.Options{Replicas: replicas, Grace: grace}); err != nil {
		return err
	}
	if err := b.cluster.Available(ctx, b.namespace, "far-end", 1); err != nil {
		return err
	}
	if b.user, err = b.cluster.NewUser(ctx, "dev-"+b.namespace); err != nil {
		return err
	}
	for _, role := range []string{"understudy-user", "edit"} {
		if err := b.cluster.Grant(ctx, b.user, b.namespace, role); err != nil {
			return err
		}
	}
	kubeconfig, err := b.user.Kubeconfig(b.namespace, "")
	if err != nil {
		return err
	}
	if b.dev, err = machine.Developer(kubeconfig); err != nil {
		return err
	}
	b.socket = filepath.Join(b.dev.Home, "director")
	b.director, err = traffic.Direct(b.socket)
	return err
}

func (b *bench) leave(ctx context.Context) error {
	var closed error
	if b.director != nil {
		closed = b.director.Close()
	}
	if b.namespace == "" {
		return closed
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return errors.Join(closed, b.cluster.Client.CoreV1().Namespaces().Delete(ctx, b.namespace, metav1.DeleteOptions{}))
}

// session is a run of exec whose local process has come.
type session struct {
	run    *developer.Run
	player *traffic.Player
	// asked is when the command was typed.
	asked time.Time
}

// exec types `understudy exec` with a player as the local process, and returns when
// that has said since when it runs.
func (b *bench) exec(ctx context.Context, of string, flags ...string) (*session, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{asked: time.Now()}
	var err error
	args := append([]string{"exec", "-t", of}, flags...)
	s.run, err = b.dev.Understudy(append(args, "--", b.dev.Program("traffic"), "play", b.socket)...)
	if err != nil {
		return nil, err
	}
	go func() {
		if code, err := s.run.Exit(ctx); err == nil {
			cancel(fmt.Errorf("the command has ended with exit code %d:\n%s", code, s.run))
		}
	}()
	if s.player, err = b.director.Wait(ctx); err != nil {
		s.run.Kill()
		return nil, fmt.Errorf("waiting for the local process: %w", err)
	}
	return s, nil
}

// exit waits until the command has said that all is put back.
func (s *session) exit(ctx context.Context) error {
	code, err := s.run.Exit(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("the exit code is %d:\n%s", code, s.run)
	}
	return err
}
