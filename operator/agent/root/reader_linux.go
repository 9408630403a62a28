package root

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// Command starts a child; the process's number follows.
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

// Open starts a child for the container that a process of it shows. Empty
// command is Command.
func Open(pid int, command ...string) (*Reader, error) {
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
	cmd := exec.Command(command[0], append(command[1:], strconv.Itoa(pid))...)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("starting who reads files: %w", err)
	}
	r := &Reader{cmd: cmd, conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}
	if err := r.last(nil).Error.asError(); err != nil {
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

// last reads up to the last part of an answer.
func (r *Reader) last(each func(tunnel.File) error) answer {
	for {
		var part answer
		if err := r.in.Decode(&part); err != nil {
			r.lost = true
			return answer{Error: failureOf(fmt.Errorf("asking who reads files: %w", err))}
		}
		if part.End {
			return part
		}
		if part.File == nil || each == nil {
			return answer{Error: failureOf(errors.New("asking who reads files: a part that was not asked for"))}
		}
		if err := each(*part.File); err != nil {
			// The rest would be taken for the next answer.
			r.lost = true
			return answer{Error: failureOf(err)}
		}
	}
}

// ask leaves the child when ctx ends: what it reads may hang, and then the
// Reader is of no more use.
func (r *Reader) ask(ctx context.Context, op, path string, each func(tunnel.File) error) answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { r.conn.Close() })
	defer stop()
	if r.lost {
		return answer{Error: failureOf(errors.New("asking who reads files: it has ended"))}
	}
	if err := r.out.Encode(question{Op: op, Path: path}); err != nil {
		r.lost = true
		return answer{Error: failureOf(fmt.Errorf("asking who reads files: %w", err))}
	}
	return r.last(each)
}

// File reads one regular file whole, links followed within the root.
func (r *Reader) File(ctx context.Context, path string) (tunnel.File, error) {
	got := r.ask(ctx, opFile, path, nil)
	if err := got.Error.asError(); err != nil || got.File == nil {
		return tunnel.File{}, err
	}
	return *got.File, nil
}

// Mount is a mounted volume as it is now.
func (r *Reader) Mount(ctx context.Context, path string) (tunnel.Mount, error) {
	got := r.ask(ctx, opMount, path, nil)
	if err := got.Error.asError(); err != nil || got.Mount == nil {
		return tunnel.Mount{}, err
	}
	return *got.Mount, nil
}

// Tree hands over the files of a mount, and returns their version.
func (r *Reader) Tree(ctx context.Context, path string, each func(tunnel.File) error) (string, error) {
	got := r.ask(ctx, opTree, path, each)
	return got.Version, got.Error.asError()
}

// Lost says that the child has ended or is no longer understood: Close it and
// Open another.
func (r *Reader) Lost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}
