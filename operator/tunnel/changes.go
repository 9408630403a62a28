package tunnel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"understudy.dev/understudy/operator/tunnel/mux"
)

// ChangeOp is what a Change does.
type ChangeOp string

// The operations, by the names of the calls that they are.
const (
	// ChangeMkdir makes a folder of a Mode.
	ChangeMkdir ChangeOp = "mkdir"
	// ChangeSymlink makes a link at Path that says To.
	ChangeSymlink ChangeOp = "symlink"
	// ChangeUnlink removes what is no folder, ChangeRmdir an empty folder.
	ChangeUnlink ChangeOp = "unlink"
	ChangeRmdir  ChangeOp = "rmdir"
	// ChangeRename gives what is at Path the name To, in the place of what has
	// that, but with Keep.
	ChangeRename ChangeOp = "rename"
	// ChangeChmod gives a file or folder a Mode, ChangeTruncate a file a Size, and
	// ChangeTouch whatever there is a time Modified.
	ChangeChmod    ChangeOp = "chmod"
	ChangeTruncate ChangeOp = "truncate"
	ChangeTouch    ChangeOp = "touch"
)

// Change is one alteration of the container's files; a link at Path is not
// followed.
type Change struct {
	Op   ChangeOp `json:"op"`
	Path []byte   `json:"path"`
	// To is a path, or what a link says: any bytes.
	To []byte `json:"to,omitempty"`
	// Mode holds permission bits.
	Mode uint32 `json:"mode,omitempty"`
	// Size in bytes; Modified in nanoseconds since 1970.
	Size     int64 `json:"size,omitempty"`
	Modified int64 `json:"modified,omitempty"`
	// Keep what is at To already: EEXIST.
	Keep bool `json:"keep,omitempty"`
}

// maxPaths of one change together, in bytes: so they go into a header.
const maxPaths = 5800

func (c Change) tooLong() bool {
	return len(c.Path) > MaxPath || len(c.To) > MaxPath || len(c.Path)+len(c.To) > maxPaths
}

// Writing asks for a regular file to be written.
type Writing struct {
	Path []byte `json:"path"`
	// Create it with Mode where it is not there; with Exclusive it must not be.
	Create    bool   `json:"create,omitempty"`
	Exclusive bool   `json:"exclusive,omitempty"`
	Mode      uint32 `json:"mode,omitempty"`
	// Truncate it to nothing first.
	Truncate bool `json:"truncate,omitempty"`
	// Append has every write go to its end.
	Append bool `json:"append,omitempty"`
}

// WriteHandler is a FileHandler that changes the container's files, with the
// rights that the container has.
type WriteHandler interface {
	FileHandler
	// Change does it, and says what is there then; nothing of what is removed.
	Change(ctx context.Context, change Change) (FileInfo, error)
	// OpenWrite opens a regular file for writing; the Server closes it.
	OpenWrite(ctx context.Context, writing Writing) (WrittenFile, error)
}

// WrittenFile is a regular file of the container that is written.
type WrittenFile interface {
	// WriteAt writes all of p, or fails.
	io.WriterAt
	io.Closer
	// Sync has the kernel write to the disk what it has of the file.
	Sync() error
	// Info of the file when it was opened.
	Info() FileInfo
}

// ErrNoWrites: the agent changes no files.
var ErrNoWrites = errors.New("the agent changes no files")

func (o *owner) serveChange(ctx context.Context, stream *mux.Stream, asked Change) error {
	handler, ok := o.config.Handler.(WriteHandler)
	if !ok {
		return fmt.Errorf("a change of files: %w", ErrProtocol)
	}
	if asked.tooLong() {
		return o.refuse(stream, syscall.ENAMETOOLONG)
	}
	info, err := handler.Change(ctx, asked)
	return o.answer(stream, info, err)
}

// serveWrite writes one open file, one question after the other, until the owner
// closes it.
func (o *owner) serveWrite(ctx context.Context, stream *mux.Stream, asked Writing) error {
	handler, ok := o.config.Handler.(WriteHandler)
	if !ok {
		return fmt.Errorf("a file to be written: %w", ErrProtocol)
	}
	if len(asked.Path) > MaxPath {
		return o.refuse(stream, syscall.ENAMETOOLONG)
	}
	select {
	case o.files <- struct{}{}:
		defer func() { <-o.files }()
	default:
		return o.refuse(stream, syscall.EMFILE)
	}
	file, err := handler.OpenWrite(ctx, asked)
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
		if err != nil || takeBytes(stream, stream, file, q) != nil {
			return nil
		}
	}
}

// takeBytes writes what follows a question, a piece after the other, and answers.
// After a failure the rest is read and thrown away. The error is the stream's.
func takeBytes(w io.Writer, r io.Reader, file WrittenFile, q question) error {
	piece := readPieces.Get().(*[readPieceSize]byte)
	defer readPieces.Put(piece)
	var failed error
	if q.length == 0 {
		failed = file.Sync()
	}
	for offset, left := int64(q.offset), int(q.length); left > 0; {
		n := min(left, readPieceSize)
		if _, err := io.ReadFull(r, piece[:n]); err != nil {
			return unexpected(err)
		}
		if failed == nil {
			_, failed = file.WriteAt(piece[:n], offset)
		}
		offset, left = offset+int64(n), left-n
	}
	if failed == nil {
		_, err := w.Write(answerHead(statusOK, 0))
		return err
	}
	body, err := json.Marshal(fileFailureOf(failed))
	if err != nil {
		return err
	}
	_, err = w.Write(append(answerHead(statusFile, len(body)), body...))
	return err
}

// openChange opens a stream that changes something.
func (c *Client) openChange(ctx context.Context, kind Kind, body, answer any) (*mux.Stream, error) {
	stream, err := c.open(ctx, kind, body, answer)
	if errors.Is(err, ErrProtocol) {
		// So an agent answers that does not know of this.
		return nil, fmt.Errorf("%w: %w", ErrNoWrites, err)
	}
	return stream, err
}

// Change alters the container's files. Errors about files are syscall's own;
// ErrNoWrites where the agent changes none. After an error of the tunnel's it may
// have been done.
func (c *Client) Change(ctx context.Context, change Change) (FileInfo, error) {
	if change.tooLong() {
		return FileInfo{}, syscall.ENAMETOOLONG
	}
	var info FileInfo
	stream, err := c.openChange(ctx, kindChange, change, &info)
	if err != nil {
		return FileInfo{}, fmt.Errorf("changing %s of the pod (%s): %w", change.Path, change.Op, err)
	}
	return info, stream.Close()
}

// RemoteWriter is a file of the container that is written. All methods may be
// used at the same time; one question is asked after the other.
type RemoteWriter struct {
	stream *mux.Stream
	info   FileInfo

	asking sync.Mutex
	lost   bool
}

// OpenWrite opens a regular file of the container for writing.
func (c *Client) OpenWrite(ctx context.Context, writing Writing) (*RemoteWriter, error) {
	if len(writing.Path) > MaxPath {
		return nil, syscall.ENAMETOOLONG
	}
	f := &RemoteWriter{}
	stream, err := c.openChange(ctx, kindWrite, writing, &f.info)
	if err != nil {
		return nil, fmt.Errorf("opening %s of the pod for writing: %w", writing.Path, err)
	}
	f.stream = stream
	return f, nil
}

// Info of the file when it was opened.
func (f *RemoteWriter) Info() FileInfo { return f.info }

// Write writes all of p from an offset on, or fails. After an error that is not
// the file's own (ErrLost) the file is of no more use, and nobody knows how much
// was written.
func (f *RemoteWriter) Write(ctx context.Context, p []byte, offset int64) error {
	f.asking.Lock()
	defer f.asking.Unlock()
	for len(p) > 0 {
		n := min(len(p), MaxRead)
		if err := f.ask(ctx, p[:n], offset); err != nil {
			return err
		}
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}

// Sync has what was written written to the disk.
func (f *RemoteWriter) Sync(ctx context.Context) error {
	f.asking.Lock()
	defer f.asking.Unlock()
	return f.ask(ctx, nil, 0)
}

func (f *RemoteWriter) ask(ctx context.Context, p []byte, offset int64) error {
	if f.lost {
		return ErrLost
	}
	stop := context.AfterFunc(ctx, func() { f.stream.Reset(mux.CodeCanceled) })
	defer stop()
	_, err := f.stream.Write(append(question{offset: uint64(offset), length: uint32(len(p))}.encode(), p...))
	if err == nil {
		err = readTaken(f.stream)
	}
	if said, ok := errors.AsType[*answered](err); ok {
		return said.error
	}
	if err != nil {
		f.lost = true
		return fmt.Errorf("%w: %w", ErrLost, fileError(ctx, f.stream, err))
	}
	return nil
}

// readTaken reads the answer to bytes that were sent: a piece that is empty says
// that all were written.
func readTaken(r io.Reader) error {
	_, err := readPiece(r, nil)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Close closes the file.
func (f *RemoteWriter) Close() error { return f.stream.Close() }
