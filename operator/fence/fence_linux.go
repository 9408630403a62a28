package fence

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/fence/probe"
)

// Fence is what one session has in one pod's network namespace. Its methods may
// be called at the same time. What it does holds until Close, or until Remove is
// called with the same session, by whatever process.
type Fence struct {
	netns *os.File
	nodes []netip.Addr

	mu       sync.Mutex
	plan     plan
	closed   bool
	steal    []door
	stealers map[Port]*Stolen
	flaps    []*flap
	takers   map[Port]*StolenUDP
	answer   []door
	answers  *probe.Answers
	accepts  sync.WaitGroup
}

// Options of a fence.
type Options struct {
	// Nodes are the addresses that the kubelet's probes come from; default
	// NodeAddresses.
	Nodes []netip.Addr
}

// New is a fence that does nothing yet, but that takes away what an earlier one
// of this session has left. It keeps a descriptor of its own of the namespace.
func New(netns *os.File, session string, o Options) (*Fence, error) {
	if err := checkName(session); err != nil {
		return nil, err
	}
	if o.Nodes == nil {
		var err error
		if o.Nodes, err = NodeAddresses(netns); err != nil {
			return nil, err
		}
	}
	fd, err := unix.FcntlInt(netns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("keeping the pod's network namespace: %w", err)
	}
	f := &Fence{
		netns: os.NewFile(uintptr(fd), netns.Name()), nodes: o.Nodes,
		plan: plan{session: session}, stealers: map[Port]*Stolen{}, takers: map[Port]*StolenUDP{},
	}
	// Looked for first: removing waits for the kernel, and mostly there is nothing.
	err = within(f.netns, func() error {
		left, err := sessions()
		if err == nil && slices.Contains(left, session) {
			err = remove(session)
		}
		return err
	})
	if err != nil {
		f.netns.Close()
		return nil, err
	}
	return f, nil
}

// Raise refuses new connections from now on; to be called before the freeze. A
// second call exchanges who is refused, without a gap: for when another container
// of the pod has been started.
func (f *Fence) Raise(scope Scope) error {
	return f.change(func(p *plan) { p.raised = &scope })
}

// Lower refuses nobody any more.
func (f *Fence) Lower() error {
	return f.change(func(p *plan) { p.raised = nil })
}

// change writes the table anew, or leaves everything as it was.
func (f *Fence) change(edit func(*plan)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changeLocked(edit)
}

func (f *Fence) changeLocked(edit func(*plan)) error {
	if f.closed {
		return net.ErrClosed
	}
	next := f.plan
	next.stolen, next.probed = slices.Clone(next.stolen), slices.Clone(next.probed)
	edit(&next)
	if err := within(f.netns, next.apply); err != nil {
		return err
	}
	f.plan = next
	return nil
}

// Within calls f on a thread in the pod's network namespace, which ends with it:
// what it opens there stays there.
func (f *Fence) Within(do func() error) error { return within(f.netns, do) }

// Close takes all rules away and closes the listeners; accepted connections live
// on.
func (f *Fence) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	err := Remove(context.Background(), f.plan.session, f.netns)
	f.closed = true
	for _, d := range slices.Concat(f.steal, f.answer) {
		d.Close()
	}
	for _, flap := range f.flaps {
		flap.close()
	}
	for _, s := range f.takers {
		s.once.Do(func() { close(s.done) })
	}
	stealers := f.stealers
	f.stealers = nil
	answers := f.answers
	f.mu.Unlock()
	for _, s := range stealers {
		s.end()
	}
	f.accepts.Wait()
	if answers != nil {
		answers.Close()
	}
	f.netns.Close()
	return err
}

// Remove takes all away that the session has in the namespace, whoever made it.
// That there is nothing is no error.
func Remove(_ context.Context, session string, netns *os.File) error {
	return within(netns, func() error { return remove(session) })
}

// Sessions that have rules in the namespace: the living and the dead.
func Sessions(netns *os.File) (names []string, err error) {
	err = within(netns, func() error {
		names, err = sessions()
		return err
	})
	return names, err
}

// Check says whether this kernel can do what a fence needs, by doing all of it in
// an empty network namespace. byCgroup is whether it tells a pod's containers apart.
func Check() (byCgroup bool, err error) {
	err = inEmptyNamespace(func() error {
		p := plan{
			session: "check", stolen: []Port{{Number: 1}, {Number: 2, Loopback: true}}, probed: []uint16{3}, meshed: true,
			nodes:  []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()},
			raised: &Scope{SparedUsers: []uint32{1}, Listeners: []Listener{{At: netip.AddrPortFrom(loopback4.Addr(), 4)}}},
		}
		for _, addr := range []netip.Addr{loopback4.Addr(), loopback6.Addr()} {
			p.steal = append(p.steal, netip.AddrPortFrom(addr, 5))
		}
		p.answer, p.stealUDP, p.stolenUDP = p.steal, p.steal, p.stolen
		if err := p.apply(); err != nil {
			return err
		}
		group := Cgroup{ID: 1, Level: 1}
		p.raised = &Scope{Pod: group, Spared: []Cgroup{group}}
		err := p.apply()
		byCgroup = err == nil
		if errors.Is(err, errUnsupported) || errors.Is(err, unix.EINVAL) {
			err = nil
		}
		return err
	})
	return byCgroup, err
}
