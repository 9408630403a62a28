package root

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/tunnel"
)

// What the child is given: its end of the conversation, and what Process has
// opened.
const (
	socket  = 3
	process = 4
)

// Main is the whole child. It answers on its descriptor 3 until that is closed,
// and returns the exit code.
func Main() int {
	// All that follows is this thread's: its root, its user, its files.
	runtime.LockOSThread()
	conn := os.NewFile(socket, "owner")
	out := json.NewEncoder(conn)
	files, err := enter()
	if err != nil {
		_ = out.Encode(answer{End: true, Error: failureOf(err)})
		return 1
	}
	if err := out.Encode(answer{End: true}); err != nil {
		return 1
	}
	in := json.NewDecoder(conn)
	written := map[int]*os.File{}
	for {
		var asked question
		if err := in.Decode(&asked); errors.Is(err, io.EOF) {
			return 0
		} else if err != nil {
			return 1
		}
		last, err := files.alter(asked, written)
		if errors.Is(err, errNoChange) {
			last, err = files.answer(asked, func(part answer) error { return out.Encode(part) })
		}
		last.End, last.Error = true, failureOf(err)
		if err := out.Encode(last); err != nil {
			return 1
		}
	}
}

// answer is the last part of what is said to a question; part sends those before.
func (r rooted) answer(asked question, part func(answer) error) (last answer, err error) {
	path := string(asked.Path)
	switch asked.Op {
	case opFile:
		last.File = new(tunnel.File)
		*last.File, err = r.readFile(path)
	case opMount:
		last.Mount = new(tunnel.Mount)
		*last.Mount, err = r.mount(path)
	case opTree:
		last.Version, err = r.tree(path, func(file tunnel.File) error { return part(answer{File: &file}) })
	case opLook:
		last.Info = new(tunnel.FileInfo)
		*last.Info, err = r.look(path)
	case opSpace:
		last.Space = new(tunnel.Space)
		*last.Space, err = r.space(path)
	case opOpen:
		var file *os.File
		last.Info = new(tunnel.FileInfo)
		if file, *last.Info, err = r.regular(path); err == nil {
			file.Close()
		}
	case opPart:
		if asked.Opened == nil || asked.Length < 0 {
			return last, errors.New("a part of what?")
		}
		last.Data, err = r.part(path, *asked.Opened, asked.Offset, asked.Length)
	case opList:
		err = r.list(path, func(entry tunnel.Entry) error {
			if last.Entries = append(last.Entries, entry); len(last.Entries) < listStep {
				return nil
			}
			full := last.Entries
			last.Entries = nil
			return part(answer{Entries: full})
		})
	default:
		err = fmt.Errorf("there is no question %q", asked.Op)
	}
	return last, err
}

// errNoChange is of a question that changes nothing.
var errNoChange = errors.New("nothing is changed by that")

// alter answers what changes something; written are the files that are open for
// it.
func (r rooted) alter(asked question, written map[int]*os.File) (last answer, err error) {
	file := written[asked.Number]
	switch asked.Op {
	case opChange:
		if asked.Change == nil {
			return last, errors.New("a change of what?")
		}
		last.Info = new(tunnel.FileInfo)
		*last.Info, err = r.change(*asked.Change)
		return last, err
	case opWrite:
		if asked.Writing == nil {
			return last, errors.New("writing what?")
		}
		if len(written) >= tunnel.MaxOpenFiles {
			return last, unix.EMFILE
		}
		last.Info = new(tunnel.FileInfo)
		if file, *last.Info, err = r.write(*asked.Writing); err != nil {
			return last, err
		}
		last.Number = int(file.Fd())
		written[last.Number] = file
		return last, nil
	case opPut, opSync, opShut:
		if file == nil {
			return last, unix.EBADF
		}
	default:
		return last, errNoChange
	}
	switch asked.Op {
	case opPut:
		return last, put(file, asked.Data, asked.Offset)
	case opSync:
		return last, file.Sync()
	default:
		delete(written, asked.Number)
		return last, file.Close()
	}
}

// enter goes where the process is, as who it is. There is no way back.
func enter() (rooted, error) {
	proc := fmt.Sprintf("/proc/self/fd/%d", process)
	id, err := identityOf(proc + "/status")
	if err != nil {
		return rooted{}, fmt.Errorf("reading who the process is: %w", ended(err))
	}
	// After its capabilities were read, not before: a process may go into a user
	// namespace of its own, where it has them all, and never comes back.
	own, err := inOurs(proc)
	if err != nil {
		return rooted{}, err
	}
	if !own {
		id.caps = 0
	}
	root, err := unix.Open(proc+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return rooted{}, fmt.Errorf("opening the process's root: %w", ended(err))
	}
	// Opened while /proc is still ours.
	self, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return rooted{}, fmt.Errorf("opening our own descriptors: %w", err)
	}
	mounts, err := unix.Open(proc+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return rooted{}, fmt.Errorf("opening the process's mount namespace: %w", ended(err))
	}
	// It is the node's /proc that this is in.
	unix.Close(process)
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return rooted{}, fmt.Errorf("taking a root of our own: %w", err)
	}
	if err := unix.Setns(mounts, unix.CLONE_NEWNS); err != nil {
		return rooted{}, fmt.Errorf("joining the mount namespace: %w", err)
	}
	unix.Close(mounts)
	if err := become(id); err != nil {
		return rooted{}, err
	}
	return rooted{root: root, own: self}, nil
}

// become takes on a process's user, groups and capabilities, in every thread.
func become(id identity) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keeping capabilities for a moment: %w", err)
	}
	if err := syscall.Setgroups(id.groups); err != nil {
		return fmt.Errorf("taking the groups: %w", err)
	}
	if err := syscall.Setresgid(id.gid, id.gid, id.gid); err != nil {
		return fmt.Errorf("taking group %d: %w", id.gid, err)
	}
	if err := syscall.Setresuid(id.uid, id.uid, id.uid); err != nil {
		return fmt.Errorf("taking user %d: %w", id.uid, err)
	}
	// Those of the process alone, and none for another program.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held [2]unix.CapUserData
	if err := unix.Capget(&header, &held[0]); err != nil {
		return fmt.Errorf("reading the capabilities: %w", err)
	}
	for i := range held {
		wanted := uint32(id.caps >> (32 * i))
		held[i] = unix.CapUserData{Effective: wanted & held[i].Permitted, Permitted: wanted & held[i].Permitted}
	}
	if err := unix.Capset(&header, &held[0]); err != nil {
		return fmt.Errorf("taking the capabilities: %w", err)
	}
	return nil
}
