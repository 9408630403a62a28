//go:build linux

// Package cue is how the processes of a stage talk to each other: messages as
// JSON with a length before them, and file descriptors beside them, over a
// socket pair. It does not know what the messages say.
package cue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxMessage in bytes: a tree of mounted files is the largest thing said, 16 MiB
// as JSON's base64.
const maxMessage = 32 << 20

// maxFiles that one message may carry.
const maxFiles = 4

// Line is one end of a connection between two processes. Send may be called by
// several goroutines at the same time, Receive by one.
type Line struct {
	conn    *net.UnixConn
	sending sync.Mutex
}

// Pair makes both ends of a line: one for this process, and the other as a file
// to hand to another.
func Pair() (*Line, *os.File, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	line, err := Open(os.NewFile(uintptr(ends[0]), "cue"))
	if err != nil {
		unix.Close(ends[1])
		return nil, nil, err
	}
	return line, os.NewFile(uintptr(ends[1]), "cue"), nil
}

// Open makes a line of the other end of a Pair, and closes the file.
func Open(file *os.File) (*Line, error) {
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("opening a line: %w", err)
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("opening a line: not a unix socket")
	}
	return &Line{conn: unixConn}, nil
}

// Send says one message, with files beside it; the files stay the caller's.
func (l *Line) Send(message any, files ...*os.File) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, 0, len(files))
		for _, file := range files {
			fd, err := descriptor(file)
			if err != nil {
				return err
			}
			fds = append(fds, fd)
		}
		rights = unix.UnixRights(fds...)
	}
	header := binary.BigEndian.AppendUint32(nil, uint32(len(body)))

	l.sending.Lock()
	defer l.sending.Unlock()
	// The descriptors travel with the header's bytes, so that the reader, who
	// reads exactly those first, cannot miss them.
	if _, _, err := l.conn.WriteMsgUnix(header, rights, nil); err != nil {
		return fmt.Errorf("sending a message: %w", err)
	}
	if _, err := l.conn.Write(body); err != nil {
		return fmt.Errorf("sending a message: %w", err)
	}
	return nil
}

// Receive waits for the next message and decodes it into message. The files
// that came with it are the caller's to close. The error is io.EOF when the
// other end is gone.
func (l *Line) Receive(message any) ([]*os.File, error) {
	header := make([]byte, 4)
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, m, _, _, err := l.conn.ReadMsgUnix(header, rights)
	if err != nil {
		return nil, ended(err)
	}
	if n == 0 {
		return nil, io.EOF
	}
	files, err := parseRights(rights[:m])
	if err != nil {
		return nil, err
	}
	fail := func(err error) ([]*os.File, error) {
		for _, file := range files {
			file.Close()
		}
		return nil, err
	}
	if _, err := io.ReadFull(l.conn, header[n:]); err != nil {
		return fail(ended(err))
	}
	length := binary.BigEndian.Uint32(header)
	if length > maxMessage {
		return fail(fmt.Errorf("receiving a message: %d bytes are more than %d", length, maxMessage))
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(l.conn, body); err != nil {
		return fail(ended(err))
	}
	if err := json.Unmarshal(body, message); err != nil {
		return fail(fmt.Errorf("decoding a message: %w", err))
	}
	return files, nil
}

// descriptor is file.Fd without its side effect: that makes a descriptor
// blocking, and the receiver would inherit it.
func descriptor(file *os.File) (int, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("passing %s: %w", file.Name(), err)
	}
	var number int
	if err := raw.Control(func(fd uintptr) { number = int(fd) }); err != nil {
		return 0, fmt.Errorf("passing %s: %w", file.Name(), err)
	}
	return number, nil
}

// Close ends the line; the other end then reads io.EOF.
func (l *Line) Close() error { return l.conn.Close() }

// ended tells a peer that died in the middle of a message, or with unread
// messages, like one that died between two.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		return io.EOF
	}
	return fmt.Errorf("receiving a message: %w", err)
}

func parseRights(data []byte) ([]*os.File, error) {
	if len(data) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(data)
	if err != nil {
		return nil, fmt.Errorf("parsing passed descriptors: %w", err)
	}
	var files []*os.File
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		if err != nil {
			return nil, fmt.Errorf("parsing passed descriptors: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}
