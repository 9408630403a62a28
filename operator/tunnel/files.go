package tunnel

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"understudy.dev/understudy/operator/tunnel/mux"
)

// FileInfo is what the container sees of a file, without following a link.
type FileInfo struct {
	// Mode is type and permission as the kernel's st_mode has them on Linux.
	Mode uint32 `json:"mode"`
	// Size in bytes; Modified in nanoseconds since 1970.
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"`
	// Inode tells two files of one name apart.
	Inode uint64 `json:"inode"`
	// Target of a symbolic link, any bytes.
	Target []byte `json:"target,omitempty"`
}

// Entry is one name in a folder.
type Entry struct {
	// Name has any bytes but "/".
	Name []byte `json:"name"`
	FileInfo
}

// Space is how full the file system of a path is.
type Space struct {
	BlockSize uint32 `json:"blockSize"`
	Blocks    uint64 `json:"blocks"`
	Free      uint64 `json:"free"`
	Available uint64 `json:"available"`
	Files     uint64 `json:"files"`
	FreeFiles uint64 `json:"freeFiles"`
}

// FileHandler is a Handler that reads any file of the container, with the rights
// that the container has. Paths are absolute. Errors are the operating system's.
type FileHandler interface {
	// Look says what is at a path; a link is not followed.
	Look(ctx context.Context, path string) (FileInfo, error)
	// List hands over what is in a folder, at most MaxEntries.
	List(ctx context.Context, path string, each func(Entry) error) error
	// OpenFile opens a regular file for reading; the Server closes it.
	OpenFile(ctx context.Context, path string) (OpenedFile, error)
	// Space says how full the file system is.
	Space(ctx context.Context, path string) (Space, error)
}

// OpenedFile is a regular file of the container.
type OpenedFile interface {
	// ReadAt may read less than asked for, but nothing only at the end.
	io.ReaderAt
	io.Closer
	// Info of the file when it was opened.
	Info() FileInfo
}

// ErrNoFiles: the agent reads no files but those of mounted volumes.
var ErrNoFiles = errors.New("the agent reads no files but those of mounted volumes")

// lookAt is the body for look, list, read and space.
type lookAt struct {
	Path []byte `json:"path"`
}

// fileFailure is the body of a reply with status 14, and of an answer that is one.
type fileFailure struct {
	Message string `json:"message,omitempty"`
	// Errno by its name, as numbers differ.
	Errno string `json:"errno"`
}

// fileErrors are the errors that cross over as themselves.
var fileErrors = map[string]syscall.Errno{
	"EACCES": syscall.EACCES, "EBUSY": syscall.EBUSY, "EFBIG": syscall.EFBIG, "EINVAL": syscall.EINVAL, "EIO": syscall.EIO,
	"EISDIR": syscall.EISDIR, "ELOOP": syscall.ELOOP, "EMFILE": syscall.EMFILE, "ENAMETOOLONG": syscall.ENAMETOOLONG,
	"ENODEV": syscall.ENODEV, "ENOENT": syscall.ENOENT, "ENOMEM": syscall.ENOMEM, "ENOSYS": syscall.ENOSYS,
	"ENOTCONN": syscall.ENOTCONN, "ENOTDIR": syscall.ENOTDIR, "ENXIO": syscall.ENXIO, "EPERM": syscall.EPERM,
	"EROFS": syscall.EROFS, "ESTALE": syscall.ESTALE, "ETIMEDOUT": syscall.ETIMEDOUT,
	"EDQUOT": syscall.EDQUOT, "EEXIST": syscall.EEXIST, "EMLINK": syscall.EMLINK, "ENOSPC": syscall.ENOSPC,
	"ENOTEMPTY": syscall.ENOTEMPTY, "EOPNOTSUPP": syscall.EOPNOTSUPP, "ETXTBSY": syscall.ETXTBSY, "EXDEV": syscall.EXDEV,
}

// fileFailureOf says what became of a file; EIO where there is no better word.
func fileFailureOf(err error) fileFailure {
	message := err.Error()
	said := fileFailure{Message: message[:min(len(message), maxHeader/8)], Errno: "EIO"}
	for name, errno := range fileErrors {
		if errors.Is(err, errno) {
			said.Errno = name
			return said
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		said.Errno = "ENOENT"
	case errors.Is(err, fs.ErrPermission):
		said.Errno = "EACCES"
	case errors.Is(err, ErrTooLarge):
		said.Errno = "EFBIG"
	case errors.Is(err, syscall.ENFILE), errors.Is(err, ErrBusy):
		said.Errno = "EMFILE"
	case errors.Is(err, context.DeadlineExceeded):
		said.Errno = "ETIMEDOUT"
	}
	return said
}

// err is what the other end said, as an error of this system.
func (r fileFailure) err() error {
	errno, known := fileErrors[r.Errno]
	if !known {
		errno = syscall.EIO
	}
	if r.Message == "" {
		return errno
	}
	return &farFileError{text: r.Message, errno: errno}
}

// farFileError is the other end's words for an error that is known here.
type farFileError struct {
	text  string
	errno syscall.Errno
}

func (e *farFileError) Error() string { return e.text }
func (e *farFileError) Unwrap() error { return e.errno }

// fileReply is a reply that says what became of a file.
func fileReply(err error) []byte {
	reply, encodeErr := encodeReply(statusFile, fileFailureOf(err))
	if encodeErr != nil {
		return failureReply(encodeErr)
	}
	return reply
}

// question is what is asked on a read stream: bytes from an offset on.
type question struct {
	offset uint64
	length uint32
}

const questionSize = 12

func (q question) encode() []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(make([]byte, 0, questionSize), q.offset), q.length)
}

func readQuestion(r io.Reader) (question, error) {
	var b [questionSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return question{}, err
	}
	q := question{offset: binary.BigEndian.Uint64(b[:]), length: binary.BigEndian.Uint32(b[8:])}
	if q.length > MaxRead || q.offset > 1<<62 {
		return question{}, fmt.Errorf("%d bytes of a file from %d on: %w", q.length, q.offset, ErrProtocol)
	}
	return q, nil
}

// answerHead begins an answer: a status, and how many bytes follow.
func answerHead(status Status, length int) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(status)}, uint32(length))
}

// readAnswer reads the answer to a question of len(p) bytes: io.EOF where fewer
// came, as the file ends there.
func readAnswer(r io.Reader, p []byte) (int, error) {
	total := 0
	for total < len(p) {
		n, err := readPiece(r, p[total:])
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// readPiece reads a part of an answer into p; io.EOF for an empty one.
func readPiece(r io.Reader, p []byte) (int, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, unexpected(err)
	}
	status, length := Status(head[0]), binary.BigEndian.Uint32(head[1:])
	switch {
	case status == statusOK && length == 0:
		return 0, io.EOF
	case status == statusOK && length <= uint32(len(p)):
		n, err := io.ReadFull(r, p[:length])
		return n, unexpected(err)
	case status == statusFile && length <= maxHeader:
		body := make([]byte, length)
		if _, err := io.ReadFull(r, body); err != nil {
			return 0, unexpected(err)
		}
		var said fileFailure
		if err := json.Unmarshal(body, &said); err != nil {
			return 0, fmt.Errorf("decoding an answer: %w: %w", ErrProtocol, err)
		}
		return 0, &answered{said.err()}
	}
	return 0, fmt.Errorf("an answer of status %d and %d bytes: %w", status, length, ErrProtocol)
}

// answered is an error that the other end has said: the stream goes on.
type answered struct{ error }

func (a *answered) Unwrap() error { return a.error }

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readEntries reads what is in a folder.
func readEntries(r io.Reader) ([]Entry, error) {
	var entries []Entry
	for {
		kind, body, err := readMessage(r)
		if err != nil {
			return nil, unexpected(err)
		}
		switch kind {
		case recordEntry:
			var entry Entry
			if err := json.Unmarshal(body, &entry); err != nil {
				return nil, fmt.Errorf("decoding an entry of a folder: %w: %w", ErrProtocol, err)
			}
			if len(entries) == MaxEntries {
				return nil, fmt.Errorf("more than %d entries: %w", MaxEntries, ErrTooLarge)
			}
			entries = append(entries, entry)
		case recordListEnd:
			var said fileFailure
			if err := json.Unmarshal(body, &said); err != nil {
				return nil, fmt.Errorf("decoding a folder's end: %w: %w", ErrProtocol, err)
			}
			if said.Errno == "" {
				return entries, nil
			}
			return nil, said.err()
		default:
			return nil, fmt.Errorf("message of type %d in a folder: %w", kind, ErrProtocol)
		}
	}
}

// serveFiles serves one stream that asks about files.
func (o *owner) serveFiles(ctx context.Context, kind Kind, stream *mux.Stream, asked lookAt) error {
	handler, ok := o.config.Handler.(FileHandler)
	if !ok {
		return fmt.Errorf("stream of kind %d: %w", kind, ErrProtocol)
	}
	path := string(asked.Path)
	if len(path) > MaxPath {
		return o.refuse(stream, syscall.ENAMETOOLONG)
	}
	switch kind {
	case kindLook:
		info, err := handler.Look(ctx, path)
		return o.answer(stream, info, err)
	case kindSpace:
		space, err := handler.Space(ctx, path)
		return o.answer(stream, space, err)
	case kindList:
		return o.serveList(ctx, handler, stream, path)
	default:
		return o.serveRead(ctx, handler, stream, path)
	}
}

func (o *owner) refuse(stream *mux.Stream, err error) error {
	if err := stream.Reply(fileReply(err)); err != nil {
		return err
	}
	return stream.Close()
}

func (o *owner) answer(stream *mux.Stream, body any, err error) error {
	if err != nil {
		return o.refuse(stream, err)
	}
	if err := replyOK(stream, body); err != nil {
		return err
	}
	return stream.Close()
}

func (o *owner) serveList(ctx context.Context, handler FileHandler, stream *mux.Stream, path string) error {
	if err := replyOK(stream, struct{}{}); err != nil {
		return err
	}
	defer stream.Close()
	out := bufio.NewWriterSize(stream, readPieceSize)
	count := 0
	err := handler.List(ctx, path, func(entry Entry) error {
		if count++; count > MaxEntries {
			return fmt.Errorf("%s has more than %d entries: %w", path, MaxEntries, ErrTooLarge)
		}
		return writeMessage(out, recordEntry, entry)
	})
	end := fileFailure{}
	if err != nil {
		end = fileFailureOf(err)
	}
	// A stream that has failed is the owner's to see.
	_ = writeMessage(out, recordListEnd, end)
	_ = out.Flush()
	return nil
}

// serveRead answers questions about one open file, one after the other, until
// the owner closes it.
func (o *owner) serveRead(ctx context.Context, handler FileHandler, stream *mux.Stream, path string) error {
	select {
	case o.files <- struct{}{}:
		defer func() { <-o.files }()
	default:
		return o.refuse(stream, syscall.EMFILE)
	}
	file, err := handler.OpenFile(ctx, path)
	if err != nil {
		return o.refuse(stream, err)
	}
	defer file.Close()
	if err := replyOK(stream, file.Info()); err != nil {
		return err
	}
	defer stream.Close()
	for {
		q, err := readQuestion(stream)
		if errors.Is(err, ErrProtocol) {
			stream.Reset(mux.CodeReset)
		}
		if err != nil || answerQuestion(stream, file, q) != nil {
			return nil
		}
	}
}

// readPieces are what files are read into, one for each question under way.
var readPieces = sync.Pool{New: func() any { return new([readPieceSize]byte) }}

// readPieceSize of a file in one answer's part, in bytes.
const readPieceSize = 16 << 10

// answerQuestion sends bytes of a file, a piece after the other.
func answerQuestion(w io.Writer, file io.ReaderAt, q question) error {
	piece := readPieces.Get().(*[readPieceSize]byte)
	defer readPieces.Put(piece)
	for offset, left := int64(q.offset), int(q.length); left > 0; {
		n, err := file.ReadAt(piece[:min(left, readPieceSize)], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			body, encodeErr := json.Marshal(fileFailureOf(err))
			if encodeErr != nil {
				return encodeErr
			}
			_, err = w.Write(append(answerHead(statusFile, len(body)), body...))
			return err
		}
		if _, err := w.Write(answerHead(statusOK, n)); err != nil {
			return err
		}
		if _, err := w.Write(piece[:n]); err != nil || n == 0 {
			return err
		}
		offset, left = offset+int64(n), left-n
	}
	return nil
}
