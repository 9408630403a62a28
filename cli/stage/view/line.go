package view

import (
	"context"

	"understudy.dev/understudy/operator/tunnel"
)

// Files is what can be asked of a file system. Errors are the operating system's,
// or tell of the way there.
type Files interface {
	// Look says what is at a path; a link is not followed.
	Look(ctx context.Context, path string) (tunnel.FileInfo, error)
	// List returns what is in a folder.
	List(ctx context.Context, path string) ([]tunnel.Entry, error)
	// OpenFile opens a regular file.
	OpenFile(ctx context.Context, path string) (File, error)
	// Space says how full the file system is.
	Space(ctx context.Context, path string) (tunnel.Space, error)
}

// Writer is what changes a file system. Errors are as those of Files.
type Writer interface {
	// Change alters something, and says what is there then.
	Change(ctx context.Context, change tunnel.Change) (tunnel.FileInfo, error)
	// OpenWrite opens a regular file for writing.
	OpenWrite(ctx context.Context, writing tunnel.Writing) (Written, error)
}

// Written is an open file that is written. After tunnel.ErrLost it is of no more
// use.
type Written interface {
	Info() tunnel.FileInfo
	// Write writes all of p, or fails.
	Write(ctx context.Context, p []byte, offset int64) error
	Sync(ctx context.Context) error
	Close() error
}

// File is an open file. Its Read reads as much as there is, with io.EOF at the
// end; after tunnel.ErrLost it must be opened again.
type File interface {
	Info() tunnel.FileInfo
	Read(ctx context.Context, p []byte, offset int64) (int, error)
	Close() error
}

// Place is whose a path is.
type Place int

// The places.
const (
	// Pod: the container's.
	Pod Place = iota
	// Here: this machine's.
	Here
	// Nowhere: nobody's, it is not found.
	Nowhere
)

// Line says whose a path is. The zero value has everything the pod's.
type Line struct {
	// Place of a path, and what it is called there. Default: the pod's, by the
	// same name.
	Place func(path string) (at string, place Place)
	// Mixed says that paths of both are in one folder; so folders are looked for
	// at both.
	Mixed bool
	// Writable says whether a path that is the pod's may be written. Default:
	// none may.
	Writable func(path string) bool
}

// Of is whose a path is, and what it is called there.
func (l Line) Of(path string) (string, Place) {
	if l.Place == nil {
		return path, Pod
	}
	return l.Place(path)
}
