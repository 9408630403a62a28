package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/record"
)

// thawNode thaws what is still frozen on the node of which a record says that it is
// ours: undone are those that were read, and whose agents are no more. What else is
// frozen, and held by no agent that lives, is named: others freeze containers too,
// and nothing tells whose it is. Its success proves that none is left.
func thawNode(ctx context.Context, node cgroup.Node, dir record.Dir, undone []record.Record) (thawed int, err error) {
	standing, err := node.Frozen()
	errs := []error{err}
	// Read after that: a record is written before what it speaks of is frozen.
	records, err := dir.List()
	unreadable, err := record.Unreadable(err)
	if err != nil {
		return 0, errors.Join(append(errs, err)...)
	}
	held, ours := map[cgroup.Container]bool{}, map[cgroup.Container]bool{}
	for _, r := range slices.Concat(records, undone) {
		for _, f := range r.Frozen {
			if r.Agent.Lives() {
				held[f.Container] = true
			} else {
				ours[f.Container] = true
			}
		}
	}
	var left []string
	for _, s := range standing {
		// Of whom a record is that another version has written cannot be read, but that
		// it is one of ours can.
		mine := ours[s.Container] || slices.ContainsFunc(unreadable, func(bad *record.UnreadableError) bool { return bad.PodUID == s.PodUID })
		if held[s.Container] {
			continue
		}
		if mine {
			found, err := thawOne(ctx, node, s.Container)
			if found {
				thawed++
			}
			errs = append(errs, err)
		} else if now, err := stands(node, s.Container); err != nil {
			errs = append(errs, err)
		} else if now {
			left = append(left, named(s))
		}
	}
	slices.Sort(left)
	return thawed, errors.Join(append(errs, nobodys(left))...)
}

// most is how many containers are named: the kubelet takes 4096 bytes of a last word.
const most = 10

func named(s cgroup.Standing) string {
	above := ""
	if s.State.Above {
		above = ", by a cgroup above it"
	}
	return fmt.Sprintf("%v (cgroup %v%s)", s.Container, s.Version, above)
}

func nobodys(left []string) error {
	if len(left) == 0 {
		return nil
	}
	count := len(left)
	if count > most {
		left = append(left[:most:most], fmt.Sprintf("%d more", count-most))
	}
	return fmt.Errorf("frozen, without a record that says by whom, so that it was left as it is: %s; where it is to run, understudy thaw --pod thaws the pod by its name", strings.Join(left, "; "))
}

// stands looks again at one container.
func stands(node cgroup.Node, c cgroup.Container) (bool, error) {
	return ifFrozen(node, c, func(*cgroup.Group) error { return nil })
}

// thawOne thaws a container, and says whether it was frozen.
func thawOne(ctx context.Context, node cgroup.Node, c cgroup.Container) (found bool, err error) {
	return ifFrozen(node, c, func(group *cgroup.Group) error { return group.Thaw(ctx) })
}

// ifFrozen does something to a container if it is frozen, and says whether it was. One
// that is gone is not.
func ifFrozen(node cgroup.Node, c cgroup.Container, do func(*cgroup.Group) error) (found bool, err error) {
	group, err := node.Find(c)
	if err == nil {
		defer group.Close()
		var state cgroup.State
		if state, err = group.State(); err == nil && (state.Asked || state.Frozen) {
			found, err = true, do(group)
		}
	}
	if errors.Is(err, cgroup.ErrGone) {
		err = nil
	}
	return found, err
}
