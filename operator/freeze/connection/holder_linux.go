package connection

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// holder is where a socket is open.
type holder struct {
	process *process
	fd      int
}

// process is one of the frozen ones, held so that its number cannot come to mean
// another.
type process struct {
	pid int
	dir *os.File // of /proc
	// netns is what its network namespace is called, "net:[4026531840]".
	netns string
}

// held is which sockets the processes have open.
type held struct {
	processes []*process
	sockets   map[uint64][]holder // by inode
}

func (h *held) close() {
	for _, p := range h.processes {
		p.dir.Close()
	}
}

// find reads the processes' tables of open files.
func find(list func() ([]int, error)) (_ *held, err error) {
	h := &held{sockets: map[uint64][]holder{}}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	before, err := list()
	if err != nil {
		return nil, err
	}
	for _, pid := range before {
		fd, err := unix.Open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // it has ended
		}
		h.processes = append(h.processes, &process{pid: pid, dir: os.NewFile(uintptr(fd), "process")})
	}
	// Frozen processes make no others, so one that is still in the list is the
	// one that was opened, and not another that was given its number.
	after, err := list()
	if err != nil {
		return nil, err
	}
	h.processes = slices.DeleteFunc(h.processes, func(p *process) bool {
		gone := !slices.Contains(after, p.pid)
		if gone {
			p.dir.Close()
		}
		return gone
	})
	for _, p := range h.processes {
		if err := h.read(p); err != nil && !ended(err) {
			return nil, fmt.Errorf("reading the open files of process %d: %w", p.pid, err)
		}
	}
	return h, nil
}

// ended tells whether an error means that a process has ended meanwhile.
func ended(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }

func (h *held) read(p *process) error {
	buffer := make([]byte, 256)
	n, err := unix.Readlinkat(int(p.dir.Fd()), "ns/net", buffer)
	if err != nil {
		return err
	}
	p.netns = string(buffer[:n])
	tables, err := p.tables()
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err := h.readTable(p, table); err != nil && !ended(err) {
			return err
		}
	}
	return nil
}

func (h *held) readTable(p *process, table string) error {
	names, err := p.list(table)
	if err != nil {
		return err
	}
	dir, err := unix.Openat(int(p.dir.Fd()), table, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	buffer := make([]byte, 64)
	for _, name := range names {
		n, err := unix.Readlinkat(dir, name, buffer)
		if err != nil {
			continue
		}
		inode, ok := socketInode(string(buffer[:n]))
		fd, err := strconv.Atoi(name)
		if ok && err == nil {
			h.sockets[inode] = append(h.sockets[inode], holder{p, fd})
		}
	}
	return nil
}

// socketInode reads "socket:[12345]".
func socketInode(link string) (uint64, bool) {
	rest, ok := strings.CutPrefix(link, "socket:[")
	rest, closed := strings.CutSuffix(rest, "]")
	inode, err := strconv.ParseUint(rest, 10, 64)
	return inode, ok && closed && err == nil
}

// tables lists where the process's tables of open files are to be read. Threads
// mostly share one, but need not; and the first may have ended before the others.
func (p *process) tables() ([]string, error) {
	threads, err := p.list("task")
	if err != nil {
		return nil, err
	}
	var tables []string
	var first []int
	for _, name := range threads {
		tid, err := strconv.Atoi(name)
		if err != nil || slices.ContainsFunc(first, func(other int) bool { return sameFiles(other, tid) }) {
			continue
		}
		first = append(first, tid)
		tables = append(tables, "task/"+name+"/fd")
	}
	return tables, nil
}

// sameFiles tells whether two threads share their table of open files. Where the
// kernel does not say, each is read.
func sameFiles(a, b int) bool {
	const kcmpFiles = 2
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpFiles, 0, 0, 0)
	return errno == 0 && order == 0
}

// list reads a directory of the process.
func (p *process) list(name string) ([]string, error) {
	fd, err := unix.Openat(int(p.dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	return dir.Readdirnames(-1)
}
