package root

import (
	"errors"
	"io/fs"
	"syscall"

	"understudy.dev/understudy/operator/tunnel"
)

// What the child can be asked for.
const (
	opFile  = "file"
	opMount = "mount"
	opTree  = "tree"
	opLook  = "look"
	opList  = "list"
	opOpen  = "open"
	opPart  = "part"
	opSpace = "space"

	// What changes something. A file that is written is kept open, by a number.
	opChange = "change"
	opWrite  = "write"
	opPut    = "put"
	opSync   = "sync"
	opShut   = "shut"
)

// question is what the child is asked.
type question struct {
	Op string `json:"op"`
	// Path has any bytes.
	Path []byte `json:"path"`
	// Of a part of a file: what it was when it was opened, and which part.
	Opened *tunnel.FileInfo `json:"opened,omitempty"`
	Offset int64            `json:"offset,omitempty"`
	Length int              `json:"length,omitempty"`
	// Of a change, and of a file that is written.
	Change  *tunnel.Change  `json:"change,omitempty"`
	Writing *tunnel.Writing `json:"writing,omitempty"`
	Number  int             `json:"number,omitempty"`
	Data    []byte          `json:"data,omitempty"`
}

// answer is a part of what it says; the last part has End.
type answer struct {
	File    *tunnel.File  `json:"file,omitempty"`
	Mount   *tunnel.Mount `json:"mount,omitempty"`
	Version string        `json:"version,omitempty"`
	// Entries of a folder, some at a time.
	Entries []tunnel.Entry   `json:"entries,omitempty"`
	Info    *tunnel.FileInfo `json:"info,omitempty"`
	Space   *tunnel.Space    `json:"space,omitempty"`
	Data    []byte           `json:"data,omitempty"`
	Number  int              `json:"number,omitempty"`
	Error   *failure         `json:"error,omitempty"`
	End     bool             `json:"end,omitempty"`
}

// failure is an error that crosses over to the parent: its text, and the
// meanings that a caller branches on.
type failure struct {
	Text string `json:"text"`
	Is   []int  `json:"is,omitempty"`
	// Errno of the kernel's, where it is one; both ends are on one machine.
	Errno syscall.Errno `json:"errno,omitempty"`
}

// meanings that cross over, by their place; both ends are of one program.
var meanings = []error{fs.ErrNotExist, tunnel.ErrNotFound, tunnel.ErrChanging, tunnel.ErrTooLarge}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error()}
	f.Errno, _ = errors.AsType[syscall.Errno](err)
	for i, meaning := range meanings {
		if errors.Is(err, meaning) {
			f.Is = append(f.Is, i)
		}
	}
	return f
}

func (f *failure) Error() string { return f.Text }

func (f *failure) Unwrap() []error {
	var is []error
	for _, i := range f.Is {
		if i >= 0 && i < len(meanings) {
			is = append(is, meanings[i])
		}
	}
	if f.Errno != 0 {
		is = append(is, f.Errno)
	}
	return is
}

// asError is nil for no failure, which a nil *failure in an error is not.
func (f *failure) asError() error {
	if f == nil {
		return nil
	}
	return f
}
