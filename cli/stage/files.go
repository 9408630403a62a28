package stage

import (
	"context"

	"understudy.dev/understudy/cli/stage/view"
	"understudy.dev/understudy/operator/tunnel"
)

// Files are those of the pod that are read when they are needed, through a file
// system of the kernel's.
type Files struct {
	// Pod is asked for them; nil where no file may be read.
	Pod view.Files
	// Writer changes them, where the Line lets it; nil where nothing is changed.
	Writer view.Writer
	// Line says whose a path is, for what is below the paths that are shown.
	Line view.Line
	// Shown are the paths at which the pod's files are. None is in another, and
	// none holds this machine's own system, or the user's.
	Shown []ShownPath
	// Hidden are paths of this machine that the command must not read.
	Hidden []string
	// Bound are this machine's files at other paths than their own.
	Bound []Bound
}

// ShownPath is a folder or a file of the pod, by what it is.
type ShownPath struct {
	Path string
	Root tunnel.FileInfo
	// Whole says that all of it is the pod's, whatever the Line says.
	Whole bool
}

// Bound is a folder or a file of this machine, and where the command has it, too.
type Bound struct {
	From, To string
}

// TunnelFiles are the files at the other end of a tunnel.
func TunnelFiles(client *tunnel.Client) view.Files { return tunnelFiles{client} }

type tunnelFiles struct{ *tunnel.Client }

func (t tunnelFiles) OpenFile(ctx context.Context, path string) (view.File, error) {
	file, err := t.Client.OpenFile(ctx, path)
	if err != nil {
		return nil, err
	}
	return file, nil
}

var _ view.Writer = tunnelFiles{}

func (t tunnelFiles) OpenWrite(ctx context.Context, writing tunnel.Writing) (view.Written, error) {
	file, err := t.Client.OpenWrite(ctx, writing)
	if err != nil {
		return nil, err
	}
	return file, nil
}
