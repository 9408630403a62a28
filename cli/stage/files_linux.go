package stage

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage/root"
	"understudy.dev/understudy/cli/stage/view"
	"understudy.dev/understudy/operator/tunnel"
)

// Viewable says why this machine does not let its user serve a file system, if
// so: then no file of the pod can be shown.
func Viewable() error { return root.Viewable() }

// show plans the paths at which the pod's files are. Mounts below one of them need
// no copy.
func (p *plan) show(options *Options) {
	if options.Files.Pod == nil {
		return
	}
	if err := root.Viewable(); err != nil {
		if len(options.Files.Shown) > 0 {
			options.OnNotice(Notice{
				Text: fmt.Sprintf("the pod's files cannot be read (%v): its config maps, secrets and tokens are here, and nothing else of its files", err),
				Hint: "file systems of a process need /dev/fuse to be open to you: modprobe fuse; chmod 666 /dev/fuse, as most distributions have it",
			})
		}
		options.Files.Pod = nil
		return
	}
	p.writable = options.Files.Writer != nil && options.Files.Line.Writable != nil
	for _, shown := range options.Files.Shown {
		p.add(shown)
		for _, mount := range options.Welcome.Mounts {
			if root.Within(mount.Path, shown.Path) {
				p.viewed[mount.Path] = true
			}
		}
	}
}

// add plans one more view. None is in another: who mounts would wait for who
// serves.
func (p *plan) add(shown ShownPath) {
	for _, other := range p.views {
		if root.Within(shown.Path, other.Path) {
			return // it is shown
		}
	}
	inner := func(path string) bool { return root.Within(path, shown.Path) }
	p.views = slices.DeleteFunc(p.views, func(other ShownPath) bool { return inner(other.Path) })
	p.Root.Views = slices.DeleteFunc(p.Root.Views, func(other root.View) bool { return inner(other.Path) })
	p.views = append(p.views, shown)
	p.Root.Views = append(p.Root.Views, root.View{
		Path: shown.Path, File: shown.Root.Mode&unix.S_IFMT == unix.S_IFREG, Writable: p.writable && !shown.Whole,
	})
}

// maxCopies of mounted files that are handed to the hand in one message, in bytes.
const maxCopies = 16 << 20

// spare has the mounts that are too large to be copied, or too large together,
// read when they are needed.
func (p *plan) spare(ctx context.Context, options Options, mounts []mountCopy) error {
	slices.SortStableFunc(mounts, func(a, b mountCopy) int { return a.size() - b.size() })
	total := 0
	for _, mount := range mounts {
		if total += mount.size(); !mount.tooLarge && (total <= maxCopies || options.Files.Pod == nil) {
			p.Root.Mounts = append(p.Root.Mounts, mount.Mount)
			continue
		}
		info, err := options.Files.Pod.Look(ctx, mount.Path)
		if err != nil {
			return fmt.Errorf("looking at the files of %s: %w", mount.Path, err)
		}
		p.viewed[mount.Path] = true
		p.add(ShownPath{Path: mount.Path, Root: info, Whole: true})
	}
	return nil
}

// mountCopy is a mount's content as it was read.
type mountCopy struct {
	root.Mount
	tooLarge bool
}

func (m mountCopy) size() int {
	if m.tooLarge {
		return tunnel.MaxTreeSize
	}
	size := 0
	for _, file := range m.Files {
		size += len(file.Data)
	}
	return size
}

// serveViews begins to serve what the hand has mounted. A view that is not served
// is gone, as its device is closed.
func (s *Stage) serveViews(ctx context.Context, options Options, plan *plan) {
	for i, shown := range plan.views {
		_, device, err := s.hand.ask(ctx, order{View: i + 1})
		if err != nil || device == nil {
			continue // of which there was a notice
		}
		line := options.Files.Line
		if shown.Whole {
			line = view.Line{}
		}
		served, err := view.Serve(device, view.Options{Path: shown.Path, Root: shown.Root, Pod: options.Files.Pod, Writer: options.Files.Writer, Line: line, Log: s.log})
		if err != nil {
			options.OnNotice(Notice{Text: fmt.Sprintf("%s of the pod cannot be read: %v", shown.Path, err)})
			continue
		}
		s.views = append(s.views, served)
	}
}
