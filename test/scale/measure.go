package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// account is the operator's own.
const account = "system:serviceaccount:understudy:understudy-operator"

// quiet is for how long sessions are left alone and looked at.
const quiet = time.Minute

// phase is a part of the run, and what the operator used in it.
type phase struct {
	name     string
	took     time.Duration
	before   usage
	after    usage
	requests map[string]traffic
	// spent is the processor time of everybody.
	spent map[string]time.Duration
}

func measure(ctx context.Context, s size) (err error) {
	p, err := start(s)
	if p != nil {
		defer func() { err = errors.Join(err, p.stop()) }()
	}
	if err != nil {
		return err
	}
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	if err := p.install(ctx, s); err != nil {
		return err
	}
	var background sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer background.Wait()
	defer cancel()
	k, err := newKubelet(ctx, p.config)
	if err != nil {
		return err
	}
	background.Go(func() { k.run(ctx) })
	c := &crowd{plane: p, size: s, each: s.pods / s.deployments}
	say("the control plane is up: making %d deployments of %d pods in %d namespaces", s.deployments, c.each, s.namespaces)
	if err := c.deploy(ctx); err != nil {
		return err
	}
	say("all pods run")
	r := &run{size: s, crowd: c, say: say}
	if r.handNumbers, r.handPods, err = c.byHand(ctx); err != nil {
		return err
	}
	say("by hand: all to zero and back, the numbers in %s, the pods in %s", r.handNumbers.Round(100*time.Millisecond), r.handPods.Round(100*time.Millisecond))
	if err := r.operator(ctx); err != nil {
		return err
	}
	defer r.meter.close()
	if err := r.phases(ctx); err != nil {
		return err
	}
	return r.report(began)
}

// run is the measurement itself.
type run struct {
	size
	*crowd
	say   func(string, ...any)
	meter *meter
	pid   int
	parts []phase
	// back is when the first number was, half of them, all but one in a hundred, and
	// all, since the clients died; pods when all pods ran.
	back [4]time.Duration
	pods time.Duration
	// by hand: the floor
	handNumbers, handPods time.Duration
}

// operator starts the real one, with its own account's rights, behind the meter.
func (r *run) operator(ctx context.Context) error {
	direct := *r.config
	direct.Impersonate.UserName = account
	direct.Impersonate.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:understudy", "system:authenticated"}
	m, err := newMeter(&direct)
	if err != nil {
		return err
	}
	r.meter = m
	kubeconfig, err := r.kubeconfig("operator", m.config(), "")
	if err != nil {
		return err
	}
	cmd, err := r.run(r.size.operator, "operator.log", "--kubeconfig="+kubeconfig, "--namespace=understudy", "--agent-image=registry.example/agent:1",
		"--metrics-bind-address=0", "--health-probe-bind-address=0",
		// One that loses the lead ends, to be started again by its kubelet; here is none.
		"--leader-elect=false")
	if err != nil {
		return err
	}
	r.pid = cmd.Process.Pid
	return nil
}

func (r *run) part(name string, do func() error) error {
	before, err := use(r.pid)
	if err != nil {
		return err
	}
	spent, err := spending()
	if err != nil {
		return err
	}
	r.meter.take()
	began := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	after, err := use(r.pid)
	if err != nil {
		return err
	}
	took := time.Since(began)
	now, err := spending()
	if err != nil {
		return err
	}
	for who := range now {
		now[who] -= spent[who]
	}
	r.parts = append(r.parts, phase{name: name, took: took, before: before, after: after, requests: r.meter.take(), spent: now})
	r.say("%s: %s, resident %d MiB, at most %d MiB; %s", name, took.Round(100*time.Millisecond), after.resident>>20, after.peak>>20, inSeconds(now))
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (r *run) phases(ctx context.Context) error {
	for _, part := range []struct {
		name string
		do   func() error
	}{
		{"no session", func() error { return wait(ctx, quiet/2) }},
		{"all sessions begin", func() error { return r.begin(ctx) }},
		{"all sessions go on", func() error { return wait(ctx, quiet) }},
		{"every client dies", func() error { return r.die(ctx) }},
	} {
		if err := r.part(part.name, part.do); err != nil {
			return err
		}
	}
	return r.leftOver(ctx)
}

// die ends every client at once, and waits until all is back.
func (r *run) die(ctx context.Context) error {
	r.gone()
	r.renewing.Wait()
	silent := time.Now()
	order, err := r.numbersBack(ctx)
	if err != nil {
		return err
	}
	for i, n := range []int{1, len(order) / 2, len(order) - len(order)/100, len(order)} {
		r.back[i] = order[max(n, 1)-1].at.Sub(silent) // half of one session is that one
	}
	r.say("numbers back after %s", r.back)
	slowest, err := r.slowest(ctx, order, silent)
	if err != nil {
		return err
	}
	r.say("the last of them: %s", strings.Join(slowest, "; "))
	if err := r.untilRunning(ctx); err != nil {
		return err
	}
	r.pods = time.Since(silent)
	return nil
}

func (r *run) leftOver(ctx context.Context) error {
	var pods corev1.PodList
	if err := r.List(ctx, &pods, client.HasLabels{"understudy.dev/session"}); err != nil {
		return fmt.Errorf("looking for left-overs: %w", err)
	}
	if len(pods.Items) > 0 {
		return fmt.Errorf("%d stand-ins are left over", len(pods.Items))
	}
	return nil
}

func (r *run) report(began time.Time) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# What many sessions cost\n")
	line("Written by `make bench-scale`; nothing here is written by hand. %s, on a machine with %d cores that other work may share (load %s).\n", time.Now().UTC().Format("2 January 2006"), runtime.NumCPU(), load())
	line("%d sessions on %d Deployments in %d namespaces, %d pods on %d nodes. etcd, API server, controllers, admission policies and the operator are the real ones;",
		r.deployments, r.deployments, r.namespaces, r.each*r.deployments, nodes)
	line("there is one operator, without leader election;")
	line("nodes are played by a program that only writes statuses, so that pods start and end at once. The operator's requests go through a proxy that counts them. etcd does not wait for the disk.\n")
	line("By hand is the floor, in the same run and before the operator: %d writers scale every Deployment from 0 to its number, with no stand-in to be seen gone first.\n", abreast)
	line("| goal | wanted | seen | by hand |\n|---|---|---|---|")
	peak := r.parts[len(r.parts)-1].after.peak
	line("| operator's memory, resident, at most | 64 MiB | %.0f MiB | – |", mib(peak))
	overdue := r.back[3] - time.Duration(r.lease)*time.Second
	line("| all numbers back after every client died at once, beyond the lease of %d s | 30 s | %.1f s | %.1f s |", r.lease, overdue.Seconds(), r.handNumbers.Seconds())
	line("| the same, until all pods run | – | %.1f s | %.1f s |", (r.pods - time.Duration(r.lease)*time.Second).Seconds(), r.handPods.Seconds())
	line("\nOf the numbers the first was back %.1f s after the last renewal of all, half of them %.1f s, all but one in a hundred %.1f s, and the last %.1f s: a lease is counted from the owner's own last renewal, up to a third of it earlier.\n",
		r.back[0].Seconds(), r.back[1].Seconds(), r.back[2].Seconds(), r.back[3].Seconds())
	last := r.parts[len(r.parts)-1]
	line("In these %.0f s the operator's own read of each second came back %d times. Where it takes more than 3 s the operator is deaf, and counts no silence: on an API server", last.took.Seconds(), last.requests["LIST sessions, all namespaces, of one object"].count)
	line("that is starved the restores wait for that. Counts of requests do not depend on the load, times do.\n")
	line("| phase | took | operator's CPU | resident at its end | requests of the operator | of each session |\n|---|---|---|---|---|---|")
	for _, p := range r.parts {
		n := 0
		for _, t := range p.requests {
			n += t.count
		}
		line("| %s | %.1f s | %.1f s (%.0f %% of a core) | %.0f MiB | %d | %.1f |", p.name, p.took.Seconds(), (p.after.cpu - p.before.cpu).Seconds(),
			100*(p.after.cpu-p.before.cpu).Seconds()/p.took.Seconds(), mib(p.after.resident), n, float64(n)/float64(r.deployments))
	}
	line("\nProcessor time of everybody, of which there are %d cores:\n", runtime.NumCPU())
	programs := slices.Sorted(maps.Keys(r.parts[0].spent))
	line("| phase | took | %s |\n|%s", strings.Join(programs, " | "), strings.Repeat("---|", len(programs)+2))
	for _, p := range r.parts {
		row := fmt.Sprintf("| %s | %.1f s |", p.name, p.took.Seconds())
		for _, program := range programs {
			row += fmt.Sprintf(" %.1f s |", p.spent[program].Seconds())
		}
		line("%s", row)
	}
	line("\n## Requests, by what they are\n\nBytes are of replies. A reply that grows with the cluster would show in the last column; a watch counts from its beginning to its end.\nOne of all namespaces begins with what it is of: Sessions, their leases and stand-ins, and of Deployments the metadata. What is of one namespace grows with the sessions there.\n")
	line("| phase | request | how often | bytes, all | bytes, the biggest |\n|---|---|---|---|---|")
	for _, p := range r.parts {
		var kinds []string
		for kind := range p.requests {
			kinds = append(kinds, kind)
		}
		slices.Sort(kinds)
		for _, kind := range kinds {
			t := p.requests[kind]
			line("| %s | %s | %d | %d | %d |", p.name, kind, t.count, t.bytes, t.biggest)
		}
	}
	line("\nRenewals by the clients meanwhile: %d, of which %d failed. The whole run took %s.", r.renewed.Load()+r.failed.Load(), r.failed.Load(), time.Since(began).Round(time.Second))
	fmt.Print(b.String())
	if r.write == "" {
		return nil
	}
	if err := os.WriteFile(r.write, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(data))[:1], "")
}
