package freeze

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/connection"
	"understudy.dev/understudy/operator/freeze/guard"
	"understudy.dev/understudy/operator/freeze/record"
)

// Options of a hold.
type Options struct {
	// Session is a name that no other session has, such as its UID: letters,
	// digits, dash, dot and underscore. Clean-ups are given it.
	Session string
	// Owner of it, and Pod as NAMESPACE/NAME, for those who read the record.
	Owner  string
	Pod    string
	PodUID string
	// Lease is how long the containers stay frozen when Renew is not called.
	Lease time.Duration

	// Containers are what will be frozen first, if that is known: they are looked
	// for and recorded by Begin already, so that Freeze has only to freeze them.
	Containers []cgroup.Container

	// Node is this machine by default.
	Node cgroup.Node
	// Directory of records; default record.Directory.
	Directory record.Dir
	// Cleanups take away what else the session has put into the pod's network
	// namespace, in this process and in a new agent. In the guard it is those
	// that its Main was given.
	Cleanups []record.Cleanup
	// GuardCommand starts a guard; default guard.Command.
	GuardCommand []string
	// Log; default slog.Default.
	Log *slog.Logger
	// Notice, if set, is called with what happens while it is held; it must not
	// call back.
	Notice func(Notice)
}

// Notice is something that happened to what is held.
type Notice struct {
	// Kind is one of the constants below.
	Kind string
	// Container, unless it is about the guard.
	Container cgroup.Container
	// Error, where something failed that is being tried again.
	Error error
}

// Kinds of notices.
const (
	// NoticeRefrozen: somebody had thawed the container; it is frozen again.
	NoticeRefrozen = "Refrozen"
	// NoticeGone: the container has ended. The kubelet may start another.
	NoticeGone = "Gone"
	// NoticeGuardReplaced: the guard had ended; there is another.
	NoticeGuardReplaced = "GuardReplaced"
	// NoticeTrouble: something that the hold needs does not succeed.
	NoticeTrouble = "Trouble"
)

var (
	// ErrExpired is why a hold has ended whose lease was not renewed.
	ErrExpired = errors.New("the lease has run out")
	// ErrEnded is said of calls to a hold that has ended.
	ErrEnded = errors.New("the hold has ended")
	// ErrUnguarded is why a hold has ended whose guard ended and could not be
	// replaced.
	ErrUnguarded = errors.New("no guard can be made")
)

// Hold is one session's grip on the containers of a pod. Its methods may be
// called at the same time.
type Hold struct {
	o Options

	// doing is held while something is done to the containers, the record or the
	// guard: one thing at a time.
	doing  sync.Mutex
	record record.Record
	groups map[cgroup.Container]*cgroup.Group
	// ready is what was found and recorded, and is not frozen yet.
	ready map[cgroup.Container]*cgroup.Group
	// thawed is how many were frozen when it began to end.
	thawed int

	// mu is for what is read at any time, and never held for long. The guard is
	// changed with doing held too.
	mu    sync.Mutex
	guard *guard.Guard
	until time.Duration // on guard.Now's clock
	err   error         // why it has ended

	// held is done when the hold begins to end; the watchers go by it.
	held     context.Context
	stop     context.CancelFunc
	watchers sync.WaitGroup
	renewed  chan struct{}
	done     chan struct{}
}

// Begin undoes what dead agents have left on the node and makes the guard. It
// changes nothing about the pod. The lease runs from now. The error is a
// *record.HeldError if another agent has this session, or another session one of
// the containers, and cgroup.ErrGone if one of them is not on this node.
func Begin(ctx context.Context, o Options) (_ *Hold, err error) {
	if err := record.Check(o.Session); err != nil {
		return nil, err
	}
	o.Directory = cmp.Or(o.Directory, record.Directory)
	o.Log = cmp.Or(o.Log, slog.Default())
	if len(o.GuardCommand) == 0 {
		o.GuardCommand = guard.Command()
	}
	if o.Notice == nil {
		o.Notice = func(Notice) {}
	}
	if _, err := Recover(ctx, o.Directory, record.Undoer{Node: o.Node, Cleanups: o.Cleanups}); err != nil {
		// Another's trouble. If it is with what this session needs, the claim of
		// that says so.
		o.Log.Error("undoing what was left on this node", "error", err)
	}
	self, err := record.Identify(os.Getpid())
	if err != nil {
		return nil, err
	}
	h := &Hold{
		o:       o,
		record:  record.Record{Session: o.Session, Owner: o.Owner, Pod: o.Pod, PodUID: o.PodUID, Since: time.Now().UTC().Truncate(time.Second), Agent: self},
		groups:  map[cgroup.Container]*cgroup.Group{},
		ready:   map[cgroup.Container]*cgroup.Group{},
		until:   guard.Now() + o.Lease,
		renewed: make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	defer func() {
		if err != nil {
			h.letGo()
		}
	}()
	for _, c := range o.Containers {
		frozen, err := h.find(c)
		if err != nil {
			return nil, err
		}
		h.record.Frozen = append(h.record.Frozen, frozen...)
	}
	if err := h.makeGuard(ctx); err != nil {
		return nil, err
	}
	h.held, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	h.watchers.Go(h.keepGuard)
	go h.keepTime() // waited for by Done
	return h, nil
}

// find looks for a container and keeps its cgroup ready; it returns what is to be
// recorded, nothing if it is held or ready already.
func (h *Hold) find(c cgroup.Container) ([]record.Frozen, error) {
	if c.PodUID != h.o.PodUID {
		return nil, fmt.Errorf("%v is not of the pod that session %s holds", c, h.o.Session)
	}
	if h.groups[c] != nil || h.ready[c] != nil {
		return nil, nil
	}
	group, err := h.o.Node.Find(c)
	if err != nil {
		return nil, err
	}
	h.ready[c] = group
	return []record.Frozen{{Container: c, Version: group.Version, Path: group.Path}}, nil
}

// letGo closes what is ready and will not be frozen.
func (h *Hold) letGo() {
	for c, group := range h.ready {
		group.Close()
		delete(h.ready, c)
	}
}

// makeGuard starts a guard, arms it, and writes it into the record. Called with
// doing held, or before anybody else knows of h.
func (h *Hold) makeGuard(ctx context.Context) error {
	g, err := guard.Start(h.o.Node, h.o.Session, h.o.GuardCommand)
	if err != nil {
		return err
	}
	r := h.record
	r.Guard = g.Process
	claim := func() error { return h.o.Directory.Claim(r) }
	arm := func() error { return g.Arm(ctx, h.o.Directory, r, h.deadline()) }
	// The first one must not be able to undo what is another's. Of the next ones
	// each should be able to undo as soon as anybody knows of it.
	steps := []func() error{claim, arm}
	if h.guard != nil {
		steps = []func() error{arm, claim}
	}
	for i, step := range steps {
		if err := step(); err != nil {
			g.Dismiss(ctx)
			if h.guard == nil && i > 0 {
				err = errors.Join(err, h.o.Directory.Remove(r.Session))
			}
			return err
		}
	}
	h.record = r
	h.mu.Lock()
	defer h.mu.Unlock()
	h.guard = g
	return nil
}

// Freeze freezes containers of the pod: all of those given, or none that was not
// held before the call. It returns when the kernel has confirmed each. What is
// frozen already is taken over. The error is cgroup.ErrGone if one of them is
// not on this node, a *record.HeldError if another session has it.
func (h *Hold) Freeze(ctx context.Context, containers ...cgroup.Container) (err error) {
	h.doing.Lock()
	defer h.doing.Unlock()
	if err := h.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.held, cancel)()
	fresh := map[cgroup.Container]*cgroup.Group{}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.takeBack(context.WithoutCancel(ctx), fresh))
		}
	}()
	before := h.record.Frozen
	after := slices.Clone(before)
	for _, c := range containers {
		found, err := h.find(c)
		if err != nil {
			return err
		}
		after = append(after, found...)
	}
	// How to undo it, before it is done.
	if len(after) > len(before) {
		if err := h.tell(ctx, after); err != nil {
			return err
		}
	}
	for _, c := range containers {
		if group := h.ready[c]; group != nil {
			fresh[c] = group
		}
	}
	for _, group := range fresh {
		if err = group.Freeze(ctx); err != nil {
			break
		}
	}
	if err == nil {
		err = h.Err() // end waits for doing, and thaws
	}
	if err != nil {
		return err
	}
	for c, group := range fresh {
		delete(h.ready, c)
		h.groups[c] = group
		h.watchers.Go(func() { h.keepFrozen(c, group) })
	}
	return nil
}

// takeBack thaws what may have been frozen by a freeze that failed, and takes all
// that is not held out of the record. Called with doing held.
func (h *Hold) takeBack(ctx context.Context, touched map[cgroup.Container]*cgroup.Group) error {
	defer h.letGo()
	for _, group := range touched {
		if err := group.Thaw(ctx); err != nil {
			return err // what is still frozen stays in the record
		}
	}
	if h.Err() != nil {
		return nil // end goes by the record
	}
	return h.tell(ctx, slices.DeleteFunc(slices.Clone(h.record.Frozen), func(frozen record.Frozen) bool {
		return h.groups[frozen.Container] == nil
	}))
}

// tell writes what is to be frozen into the record and arms the guard with it.
// Called with doing held.
func (h *Hold) tell(ctx context.Context, frozen []record.Frozen) error {
	r := h.record
	r.Frozen = frozen
	if err := h.o.Directory.Claim(r); err != nil {
		return err // what another session has is not ours to thaw
	}
	h.record = r
	err := h.guard.Arm(ctx, h.o.Directory, h.record, h.deadline())
	if errors.Is(err, guard.ErrEnded) {
		if h.guard.HasExpired() {
			return h.expire()
		}
		h.guard.Dismiss(ctx) // what it leaves of itself
		err = h.makeGuard(ctx)
	}
	return err
}

// ErrStillFrozen is said by LetEnd of a container that is frozen as it was.
var ErrStillFrozen = errors.New("it stays frozen")

// LetEnd thaws one container that is held, so that it can take a signal to end,
// and does not freeze it again; all else is held as before, the fence and the lease
// among it. Its connections are ended first, and what has arrived and was not read
// is discarded: it would read on. Where that cannot be done the error is
// ErrStillFrozen, unless it was killed, and so does not live to read. On any other
// error the hold cannot go on. A container that is gone, or not held, is no error.
// Freeze takes it back.
func (h *Hold) LetEnd(ctx context.Context, c cgroup.Container, killed bool) error {
	h.doing.Lock()
	defer h.doing.Unlock()
	if err := h.Err(); err != nil {
		return err
	}
	group := h.groups[c]
	if group == nil {
		return nil
	}
	if err := connection.Discard(group.PIDs); err != nil && !errors.Is(err, cgroup.ErrGone) {
		if !killed {
			return fmt.Errorf("%w: %w", ErrStillFrozen, err)
		}
		h.o.Log.Warn("what a killed container had not read is left to it", "container", c.ID, "error", err)
	}
	// Its watcher has no part in it from here on: see freezeAgain.
	delete(h.groups, c)
	if err := group.Thaw(ctx); err != nil {
		h.groups[c] = group
		return errors.Join(ErrStillFrozen, err, group.Freeze(context.WithoutCancel(ctx)))
	}
	return h.tell(ctx, h.without(c))
}

// without is what is recorded but for one container. Called with doing held.
func (h *Hold) without(c cgroup.Container) []record.Frozen {
	return slices.DeleteFunc(slices.Clone(h.record.Frozen), func(frozen record.Frozen) bool { return frozen.Container == c })
}

// ReleaseConnections ends the established TCP connections of what is frozen, so
// that whoever is at the other end, a broker, sees a reset at once. It returns how
// many. Where some could not be ended the others are.
func (h *Hold) ReleaseConnections(ctx context.Context) (int, error) {
	h.doing.Lock()
	defer h.doing.Unlock()
	if err := h.Err(); err != nil {
		return 0, err
	}
	total := 0
	var errs []error
	for c, group := range h.groups {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		ended, err := connection.Destroy(group.PIDs, connection.Either)
		total += ended
		if err != nil && !errors.Is(err, cgroup.ErrGone) {
			errs = append(errs, fmt.Errorf("of %v: %w", c, err))
		}
	}
	return total, errors.Join(errs...)
}

// Renew lets the lease run from now again, for as long as is given. One that has
// run out stays so, also while it is not noticed yet: the guard goes by it.
func (h *Hold) Renew(lease time.Duration) error {
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		return h.err
	}
	now := guard.Now()
	if now >= h.until {
		h.mu.Unlock()
		h.wakeClock()
		return ErrExpired
	}
	h.until = now + lease
	g, until := h.guard, h.until
	h.mu.Unlock()
	h.wakeClock()
	// One that has ended, or did not take it and was killed, is replaced, and the
	// next one is told when it is armed.
	if err := g.Extend(until); err != nil && !errors.Is(err, guard.ErrEnded) {
		return fmt.Errorf("renewing the lease with the guard: %w", err)
	}
	return nil
}

// End takes the fence down, thaws, waits until all is seen to run, and takes the
// record away. When that fails the guard goes on trying from the end of the
// lease on, and the record stays; End may be called again.
func (h *Hold) End(ctx context.Context) error { return h.end(ctx, ErrEnded) }

func (h *Hold) end(ctx context.Context, why error) error {
	h.mu.Lock()
	first := h.err == nil
	if first {
		h.err = why
	}
	h.mu.Unlock()
	if first {
		h.stop()
		defer close(h.done)
	}
	defer h.watchers.Wait()
	h.doing.Lock()
	defer h.doing.Unlock()
	undoer := record.Undoer{Node: h.o.Node, Cleanups: h.o.Cleanups}
	if first {
		h.thawed = undoer.Frozen(h.record)
	}
	err := undoer.Undo(ctx, h.record, nil)
	if err == nil {
		err = h.o.Directory.Remove(h.o.Session)
	}
	h.letGo()
	if err == nil {
		h.guard.Dismiss(ctx)
	}
	return err
}

// Thawed is how many containers the kernel still said were frozen when the hold
// began to end: with none of them it was somebody else who thawed.
func (h *Hold) Thawed() int {
	h.doing.Lock()
	defer h.doing.Unlock()
	return h.thawed
}

// Done is closed when the hold has ended, by End or by its lease, and what could
// be undone is.
func (h *Hold) Done() <-chan struct{} { return h.done }

// Err is why it has ended: ErrEnded, ErrExpired, ErrUnguarded; nil while it
// holds.
func (h *Hold) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// deadline is when the lease runs out.
func (h *Hold) deadline() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until
}
