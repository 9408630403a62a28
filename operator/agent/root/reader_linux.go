package root

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// Command starts a child.
func Command() []string { return []string{"/proc/self/exe", "files"} }

// Reader reads the files of one container, by a child of its own that is there
// until Close. It answers one question at a time.
type Reader struct {
	mu   sync.Mutex
	cmd  *exec.Cmd
	conn *os.File
	in   *json.Decoder
	out  *json.Encoder
	lost bool
}

// Open starts a child for the container that a process of it shows, one that
// Process has opened; ESRCH says that it has ended. Empty command is Command.
func Open(process *os.File, command ...string) (*Reader, error) {
	if len(command) == 0 {
		command = Command()
	}
	// Ours does not block, so that a child that hangs can be left.
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("making a way to the child: %w", err)
	}
	conn, theirs := os.NewFile(uintptr(ends[0]), "child"), os.NewFile(uintptr(ends[1]), "owner")
	defer theirs.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.ExtraFiles = []*os.File{theirs, process}
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("starting who reads files: %w", err)
	}
	r := &Reader{cmd: cmd, conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}
	if err := r.last(noParts).Error.asError(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close ends the child.
func (r *Reader) Close() error {
	err := r.conn.Close()
	_ = r.cmd.Process.Kill() // it may have ended
	_ = r.cmd.Wait()         // by that signal
	return err
}

// noParts is for answers that have one part alone.
func noParts(answer) error { return errUnasked }

var errUnasked = errors.New("asking who reads files: a part that was not asked for")

// last reads up to the last part of an answer.
func (r *Reader) last(each func(answer) error) answer {
	for {
		var part answer
		if err := r.in.Decode(&part); err != nil {
			r.lost = true
			return answer{Error: failureOf(fmt.Errorf("asking who reads files: %w", err))}
		}
		if part.End {
			return part
		}
		if err := each(part); err != nil {
			// The rest would be taken for the next answer.
			r.lost = true
			return answer{Error: failureOf(err)}
		}
	}
}

// ask leaves the child when ctx ends: what it reads may hang, and then the
// Reader is of no more use.
func (r *Reader) ask(ctx context.Context, asked question, each func(answer) error) (answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { r.conn.Close() })
	defer stop()
	if r.lost {
		return answer{}, errors.New("asking who reads files: it has ended")
	}
	if err := r.out.Encode(asked); err != nil {
		r.lost = true
		return answer{}, fmt.Errorf("asking who reads files: %w", err)
	}
	last := r.last(each)
	return last, last.Error.asError()
}

// File reads one regular file whole, links followed within the root.
func (r *Reader) File(ctx context.Context, path string) (tunnel.File, error) {
	got, err := r.ask(ctx, question{Op: opFile, Path: []byte(path)}, noParts)
	return value(got.File), err
}

// Mount is a mounted volume as it is now.
func (r *Reader) Mount(ctx context.Context, path string) (tunnel.Mount, error) {
	got, err := r.ask(ctx, question{Op: opMount, Path: []byte(path)}, noParts)
	return value(got.Mount), err
}

// Tree hands over the files of a mount, and returns their version.
func (r *Reader) Tree(ctx context.Context, path string, each func(tunnel.File) error) (string, error) {
	got, err := r.ask(ctx, question{Op: opTree, Path: []byte(path)}, func(part answer) error {
		if part.File == nil {
			return errUnasked
		}
		return each(*part.File)
	})
	return got.Version, err
}

// Look says what is at a path; a link is not followed.
func (r *Reader) Look(ctx context.Context, path string) (tunnel.FileInfo, error) {
	got, err := r.ask(ctx, question{Op: opLook, Path: []byte(path)}, noParts)
	return value(got.Info), err
}

// Space says how full a file system is.
func (r *Reader) Space(ctx context.Context, path string) (tunnel.Space, error) {
	got, err := r.ask(ctx, question{Op: opSpace, Path: []byte(path)}, noParts)
	return value(got.Space), err
}

// List returns what is in a folder, at most tunnel.MaxEntries.
func (r *Reader) List(ctx context.Context, path string) ([]tunnel.Entry, error) {
	var entries []tunnel.Entry
	got, err := r.ask(ctx, question{Op: opList, Path: []byte(path)}, func(part answer) error {
		if entries = append(entries, part.Entries...); len(entries) > tunnel.MaxEntries {
			return fmt.Errorf("%s has more than %d entries: %w", path, tunnel.MaxEntries, tunnel.ErrTooLarge)
		}
		return nil
	})
	return append(entries, got.Entries...), err
}

// OpenFile says what a regular file is that may be read. It is not kept open.
func (r *Reader) OpenFile(ctx context.Context, path string) (tunnel.FileInfo, error) {
	got, err := r.ask(ctx, question{Op: opOpen, Path: []byte(path)}, noParts)
	return value(got.Info), err
}

// Part reads at most length bytes of a file from an offset on, and none at its end.
// ESTALE says that another file has the name than the one that was opened.
func (r *Reader) Part(ctx context.Context, path string, opened tunnel.FileInfo, offset int64, length int) ([]byte, error) {
	got, err := r.ask(ctx, question{Op: opPart, Path: []byte(path), Opened: &opened, Offset: offset, Length: length}, noParts)
	return got.Data, err
}

// Change alters something, and says what is there then.
func (r *Reader) Change(ctx context.Context, change tunnel.Change) (tunnel.FileInfo, error) {
	got, err := r.ask(ctx, question{Op: opChange, Change: &change}, noParts)
	return value(got.Info), err
}

// Written is a file that a Reader's child has open for writing.
type Written struct {
	reader *Reader
	number int
	info   tunnel.FileInfo
}

// Write opens a regular file for writing.
func (r *Reader) Write(ctx context.Context, writing tunnel.Writing) (*Written, error) {
	got, err := r.ask(ctx, question{Op: opWrite, Writing: &writing}, noParts)
	return &Written{reader: r, number: got.Number, info: value(got.Info)}, err
}

// Info of the file when it was opened.
func (w *Written) Info() tunnel.FileInfo { return w.info }

// Put writes all of p, from an offset on or at the end of what is appended to.
func (w *Written) Put(ctx context.Context, p []byte, offset int64) error {
	_, err := w.reader.ask(ctx, question{Op: opPut, Number: w.number, Data: p, Offset: offset}, noParts)
	return err
}

// Sync has it written to the disk.
func (w *Written) Sync(ctx context.Context) error {
	_, err := w.reader.ask(ctx, question{Op: opSync, Number: w.number}, noParts)
	return err
}

// Close closes it.
func (w *Written) Close(ctx context.Context) error {
	_, err := w.reader.ask(ctx, question{Op: opShut, Number: w.number}, noParts)
	return err
}

// value is what a pointer of an answer leads to, if it leads anywhere.
func value[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

// Lost says that the child has ended or is no longer understood: Close it and
// Open another.
func (r *Reader) Lost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}
