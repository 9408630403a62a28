package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze"
	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/record"
	"understudy.dev/understudy/operator/tunnel"
)

const (
	// lookEvery the frozen container is looked at: is it to end, is there
	// another in its place.
	lookEvery = 200 * time.Millisecond
	// othersEvery so manieth look the pod's other containers are looked at too.
	othersEvery = 5
	// glanceEvery the names of the pod's cgroups are read, and for newsFor after one
	// has come or gone the pod is looked at as often: what the kubelet has made a
	// cgroup for is about to be started.
	glanceEvery = 20 * time.Millisecond
	newsFor     = 3 * time.Second
	// heardWithin an owner counts as heard: the tunnel's own pings are closer.
	heardWithin = 10 * time.Second
)

// frozen is one session on the node, from the freeze to the thaw.
type frozen struct {
	config *settings.Config
	log    *slog.Logger
	node   cgroup.Node
	state  record.Dir
	hold   *freeze.Hold
	fence  *fence.Fence
	pod    *frozenPod
	// others are the pod's containers that are not the target, by ID; those that
	// were there before it was frozen.
	others map[string]bool
	// place is the cgroup that the target has, or had last, and podDir the folder of
	// the one that it is in.
	place  string
	podDir string
	// looked counts how often the container was looked at.
	looked int
	// groups are the cgroups beside the target's when they were read last, and
	// expecting is until when something new is thought to be about to begin.
	groups    []string
	expecting time.Time
	// more says that there is another since the fence was raised, raised whom that
	// refuses, and unmoved why it could not be moved since.
	more    bool
	raised  *fence.Scope
	unmoved string
	// leaving is a container that was told to end, and runs until it has.
	leaving *leaving
	// ready is true while the kernel has confirmed.
	ready atomic.Bool
	// over is told when the owner has said that it is.
	over chan struct{}

	mu sync.Mutex
	// target is the container that is held now; it has no ID while the kubelet
	// has not started another in the place of one that ended.
	target cgroup.Container
}

// serveFrozen freezes the container, serves the owner, and thaws. It runs in the
// target's network namespace, with a socket of the agent's own pod. Without
// an error nothing is frozen when it returns.
func serveFrozen(ctx context.Context, log *slog.Logger, places nodePlaces, ownersFD int) (said string, err error) {
	limitMemory(log, "/")
	config, key, err := settings.Load(*places.config)
	if err != nil {
		return "", err
	}
	owners, err := inherited(ownersFD)
	if err != nil {
		return "", err
	}
	probes, err := listenProbes(filepath.Join(places.once, settings.ReadySocket))
	if err != nil {
		return "", err
	}
	defer probes.Close()
	f := &frozen{config: config, log: log, state: record.Dir(places.state), over: make(chan struct{}, 1), target: cgroup.Container{PodUID: config.Freeze.PodUID, ID: config.Freeze.ContainerID}}
	f.node = cgroup.Node{Version: map[string]cgroup.Version{"v1": cgroup.V1, "v2": cgroup.V2}[config.Freeze.Freezer]}
	f.pod = newFrozenPod(f)
	defer f.pod.close()
	go answerProbes(probes, f.reason)
	server, err := tunnel.NewServer(tunnel.ServerConfig{
		Key: key, ClientKey: config.ClientKey, Session: config.Session, Handler: f.pod,
		Lease: time.Duration(config.LeaseSeconds) * time.Second, Log: log,
	})
	if err != nil {
		owners.Close()
		return "", err
	}
	if err := f.begin(ctx); err != nil {
		owners.Close()
		// To have done nothing is proof enough: the pod is another's to thaw.
		if held := (*record.HeldError)(nil); errors.As(err, &held) && held.By.Session != config.Session {
			return settings.NothingDone + held.Error(), nil
		}
		if bad := (*record.UnreadableError)(nil); errors.As(err, &bad) {
			return settings.NothingDone + bad.Error(), nil
		}
		return "", err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, owners) }()
	f.ready.Store(true)
	why := f.keep(ctx, server, served)
	f.ready.Store(false)
	stop()
	if why != ownerIsDone {
		// The local process loses the pod before the container has it back. The
		// other end is heard to hang up by way of a port-forward, late.
		select {
		case err := <-served:
			if err != nil {
				log.Warn("serving ended", "error", err)
			}
		case <-time.After(quit):
		}
	}
	return f.end(ctx, why)
}

func inherited(fd int) (net.Listener, error) {
	file := os.NewFile(uintptr(fd), "socket")
	if file == nil {
		return nil, fmt.Errorf("there is no descriptor %d", fd)
	}
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("taking a socket over: %w", err)
	}
	return listener, nil
}

// reason is why the agent is not ready, empty if it is.
func (f *frozen) reason() string {
	switch {
	case f.ready.Load():
		return ""
	case f.attaches():
		return "the agent is not attached"
	}
	return "the container is not frozen"
}

// attaches says whether the container goes on running: then the hold is held for
// what it undoes, and keeps nothing frozen.
func (f *frozen) attaches() bool { return f.config.Freeze.Attach }

// begin freezes, or attaches. Without an error, and only then, end has something to undo.
func (f *frozen) begin(ctx context.Context) error {
	containers, err := f.node.Containers(f.target.PodUID)
	if err != nil {
		return err
	}
	f.state.Forget(f.target.PodUID) // what is said there is of another session
	f.others = map[string]bool{}
	for _, c := range containers {
		f.others[c.ID] = c.ID != f.target.ID
	}
	var toFreeze []cgroup.Container
	if !f.attaches() {
		toFreeze = []cgroup.Container{f.target}
	}
	f.hold, err = freeze.Begin(ctx, freeze.Options{
		Session: f.config.Session, Owner: f.config.Freeze.Owner, Pod: f.config.Freeze.Pod, PodUID: f.target.PodUID, Node: f.node,
		Lease: f.lease(), Directory: f.state, Cleanups: cleanups, Log: f.log,
		Containers: toFreeze,
		Notice: func(n freeze.Notice) {
			f.log.Info("notice", "kind", n.Kind, "container", n.Container.ID, "error", n.Error)
		},
	})
	if err != nil {
		return err
	}
	if err := f.alone(); err != nil {
		if undone := f.undone(ctx, nil); undone != nil {
			return errors.Join(errors.New(err.Error()), undone)
		}
		return err
	}
	// First the fence: what it says no to is noticed by nobody, while a container
	// that is started again in between would read.
	if err := f.raise(); err != nil {
		return f.undone(ctx, err)
	}
	if err := f.freeze(ctx, f.target); err != nil {
		return f.undone(ctx, err)
	}
	// What could not be ended its broker would go on sending to.
	if err := f.release(ctx); err != nil {
		return f.undone(ctx, fmt.Errorf("the container's connections cannot be ended (--keep-connections goes on without): %w", err))
	}
	f.groups = f.siblings()
	return nil
}

// alone fails where another session has the pod, be it another container of it:
// an operator locks pods, but there may be two of them, or none. Of two that come
// at once each has written its record before it looks, so that one at least gives
// way. The error is a *record.HeldError, or a *record.UnreadableError where such
// a record is of the pod.
func (f *frozen) alone() error {
	records, err := f.state.List()
	if err != nil {
		f.log.Warn("records not read", "error", err)
	}
	unreadable, _ := record.Unreadable(err)
	for _, bad := range unreadable {
		if bad.PodUID == f.target.PodUID {
			return bad
		}
	}
	for _, r := range records {
		if r.PodUID == f.target.PodUID && r.Session != f.config.Session && r.Agent.Lives() {
			return &record.HeldError{By: r}
		}
	}
	return nil
}

// undone ends a hold that never came to be one.
func (f *frozen) undone(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endFor)
	defer cancel()
	return errors.Join(err, f.closeFence(), f.hold.End(ctx))
}

func (f *frozen) lease() time.Duration {
	return time.Duration(f.config.LeaseSeconds) * time.Second
}

// freeze freezes one container; one that is attached to is only looked at.
func (f *frozen) freeze(ctx context.Context, c cgroup.Container) error {
	if f.attaches() {
		f.pod.show(c)
		return nil
	}
	began := time.Now()
	if err := f.hold.Freeze(ctx, c); err != nil {
		return fmt.Errorf("freezing %v: %w", c, err)
	}
	f.log.Info("frozen", "container", c.ID, "took", time.Since(began).String())
	f.pod.show(c)
	return nil
}

// release has the connections of what is frozen ended, if they are not to be kept.
func (f *frozen) release(ctx context.Context) error {
	if f.attaches() || !f.config.Freeze.Release {
		return nil
	}
	ended, err := f.hold.ReleaseConnections(ctx)
	f.log.Info("connections released", "count", ended, "error", err)
	return err
}

const (
	// ownerIsDone is why it ends when no local process is left that could use the pod.
	ownerIsDone = "its owner has said that it is over"
	askedToEnd  = "it was asked to end"
)

// keep holds it until there is a reason not to, and answers the reason.
func (f *frozen) keep(ctx context.Context, server *tunnel.Server, served <-chan error) string {
	ticker := time.NewTicker(glanceEvery)
	defer ticker.Stop()
	for glances := 1; ; glances++ {
		select {
		case <-ctx.Done():
			return askedToEnd
		case <-f.over:
			return ownerIsDone
		case <-f.hold.Done():
			return f.hold.Err().Error()
		case err := <-served:
			return fmt.Sprintf("the agent cannot serve: %v", err)
		case <-ticker.C:
		}
		news := f.news()
		if !news && glances%int(lookEvery/glanceEvery) != 0 {
			continue
		}
		if silent, ok := server.Silent(); ok && silent < min(heardWithin, f.lease()) {
			if err := f.hold.Renew(f.lease() - silent); err != nil {
				f.log.Warn("lease not renewed", "error", err)
			}
		}
		if err := f.look(ctx, news); err != nil {
			return whyEnds(f.hold.Err(), ctx.Err(), err)
		}
	}
}

// whyEnds is why it ends when a look has failed, which may be for no other reason than
// that it ends: the hold has ended, or the agent was asked to.
func whyEnds(hold, asked, look error) string {
	switch {
	case hold != nil:
		return hold.Error()
	case errors.Is(look, freeze.ErrExpired): // the hold is about to say so
		return freeze.ErrExpired.Error()
	case asked != nil:
		return askedToEnd
	}
	return look.Error()
}

// look sees to it that whatever runs in the target's place is frozen.
// The error is why the session cannot go on.
func (f *frozen) look(ctx context.Context, news bool) error {
	pids, err := f.pids()
	alive := err == nil
	switch f.looked++; {
	case alive:
		if err := f.heed(ctx, pids); err != nil {
			return err
		}
		if !news && f.looked%othersEvery != 0 {
			return nil
		}
	case !errors.Is(err, cgroup.ErrGone):
		f.log.Warn("the container was not looked at", "error", err)
		return nil
	default:
		f.pod.ended()
	}
	next, ok, err := f.successor()
	if errors.Is(err, errMoved) {
		return err
	}
	f.follow()
	if err != nil || !ok {
		if err != nil {
			f.log.Warn("the pod was not looked at", "error", err)
		}
		return nil
	}
	if err := f.freeze(ctx, next); err != nil {
		if errors.Is(err, cgroup.ErrGone) {
			return nil
		}
		return fmt.Errorf("the container was started again and cannot be frozen: %w", err)
	}
	f.mu.Lock()
	f.target = next
	f.mu.Unlock()
	f.leaving, f.expecting = nil, time.Time{}
	// It has begun behind the fence: there is nobody who would go on sending to it.
	if err := f.release(ctx); err != nil {
		f.log.Warn("connections not released", "error", err)
	}
	return nil
}

// end thaws, and answers what was seen. It does not give up before endFor: an
// agent that ends without it leaves the work to its guard.
func (f *frozen) end(ctx context.Context, why string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endFor)
	defer cancel()
	began := time.Now()
	for {
		err := errors.Join(f.closeFence(), f.hold.End(ctx))
		if err == nil {
			took := time.Since(began).Milliseconds()
			if f.attaches() {
				return fmt.Sprintf("let go in %d ms: %s", took, why), nil
			}
			thawed := f.hold.Thawed()
			if f.leaving != nil && !f.leaving.stayed {
				thawed++ // before
			}
			by := whoThawed("the agent", thawed, f.state.Words(f.config.Freeze.PodUID))
			f.state.Forget(f.config.Freeze.PodUID)
			return fmt.Sprintf("%s in %d ms: %s", by, took, why), nil
		}
		f.log.Error("not thawed yet", "error", err)
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("thawing: %w", err)
		case <-time.After(lookEvery):
		}
	}
}
