package tunnel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// writtenPod is a pod whose files are those of a folder, and are changed.
type writtenPod struct{ filePod }

func (p writtenPod) Change(_ context.Context, change Change) (FileInfo, error) {
	at, to := filepath.Join(p.dir, string(change.Path)), filepath.Join(p.dir, string(change.To))
	switch change.Op {
	case ChangeMkdir:
		return FileInfo{Mode: change.Mode}, os.Mkdir(at, os.FileMode(change.Mode))
	case ChangeUnlink:
		return FileInfo{}, syscall.Unlink(at)
	case ChangeRename:
		return FileInfo{}, os.Rename(at, to)
	}
	return FileInfo{}, fmt.Errorf("%s: %w", change.Op, syscall.EOPNOTSUPP)
}

type writtenFile struct {
	*os.File
	syncs *int
}

func (f writtenFile) Info() FileInfo { return FileInfo{Size: 7} }
func (f writtenFile) Sync() error    { *f.syncs++; return f.File.Sync() }

var syncs int

func (p writtenPod) OpenWrite(_ context.Context, writing Writing) (WrittenFile, error) {
	flags := os.O_RDONLY // what is not created is not writable, for an error of the file's own
	if writing.Create {
		flags = os.O_WRONLY | os.O_CREATE
	}
	file, err := os.OpenFile(filepath.Join(p.dir, string(writing.Path)), flags, os.FileMode(writing.Mode))
	if err != nil {
		return nil, err
	}
	return writtenFile{file, &syncs}, nil
}

// writesOf is a client of an agent that changes the files of a folder.
func writesOf(t *testing.T, dir string) *Client {
	t.Helper()
	s := newStand(t, overTCP(t))
	s.halt()
	s.config.Handler = writtenPod{filePod{s.pod, dir}}
	s.start()
	return s.connect(s.clientConfig())
}

func TestChanges(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	client := writesOf(t, dir)
	if info, err := client.Change(ctx, Change{Op: ChangeMkdir, Path: []byte("/odd \xff"), Mode: 0o750}); err != nil || info.Mode != 0o750 {
		t.Errorf("a folder: %+v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "odd \xff")); err != nil || !info.IsDir() {
		t.Errorf("the folder: %v", err)
	}
	if _, err := client.Change(ctx, Change{Op: ChangeMkdir, Path: []byte("/odd \xff")}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("the same again: %v", err)
	}
	if _, err := client.Change(ctx, Change{Op: "explode", Path: []byte("/")}); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("what nobody knows: %v", err)
	}
	long := []byte("/" + strings.Repeat("x", MaxPath/2))
	if _, err := client.Change(ctx, Change{Op: ChangeRename, Path: long, To: append(long, long...)}); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("long names: %v", err)
	}

	file, err := client.OpenWrite(ctx, Writing{Path: []byte("/odd \xff/file"), Create: true, Mode: 0o600})
	if err != nil || file.Info().Size != 7 {
		t.Fatalf("%v, %v", file, err)
	}
	content := bytes.Repeat([]byte("0123456789abcde\n"), 3<<16) // 3 MiB
	if err := file.Write(ctx, content, 5); err != nil {
		t.Fatal(err)
	}
	if err := file.Write(ctx, []byte("begin"), 0); err != nil {
		t.Fatal(err)
	}
	before := syncs
	if err := file.Sync(ctx); err != nil || syncs != before+1 {
		t.Errorf("synced %d times: %v", syncs-before, err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "odd \xff/file")); err != nil || !bytes.Equal(got, append([]byte("begin"), content...)) {
		t.Errorf("%d bytes are there: %v", len(got), err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}

	// An error of the file's own is not the stream's end, whatever was sent.
	refused, err := client.OpenWrite(ctx, Writing{Path: []byte("/odd \xff/file")})
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	for range 2 {
		if err := refused.Write(ctx, content[:100<<10], 0); err == nil || errors.Is(err, ErrLost) {
			t.Errorf("writing what is open for reading: %v", err)
		}
	}
	if err := refused.Sync(ctx); err != nil {
		t.Errorf("after that: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := refused.Write(cancelled, content, 0); err == nil {
		t.Error("written although nobody waits")
	}
	if err := refused.Write(ctx, content, 0); !errors.Is(err, ErrLost) {
		t.Errorf("after a write that was given up: %v", err)
	}
}

// An agent that only reads says so.
func TestNoChanges(t *testing.T) {
	client := filesOf(t, t.TempDir())
	if _, err := client.Change(t.Context(), Change{Op: ChangeMkdir, Path: []byte("/x")}); !errors.Is(err, ErrNoWrites) {
		t.Errorf("a change: %v", err)
	}
	if _, err := client.OpenWrite(t.Context(), Writing{Path: []byte("/x")}); !errors.Is(err, ErrNoWrites) {
		t.Errorf("a file: %v", err)
	}
	if client.Welcome().WritesFiles {
		t.Error("the welcome speaks of writing")
	}
}

func TestChangesGoldenBytes(t *testing.T) {
	golden(t, "change", must(encodeHeader(kindChange, Change{Op: ChangeRename, Path: []byte("/a \xff"), To: []byte("/b"), Keep: true})))
	golden(t, "change-chmod", must(encodeHeader(kindChange, Change{Op: ChangeChmod, Path: []byte("/a"), Mode: 0o640})))
	golden(t, "write", must(encodeHeader(kindWrite, Writing{Path: []byte("/a \xff"), Create: true, Exclusive: true, Mode: 0o600, Truncate: true, Append: true})))
	golden(t, "reply-exists", fileReply(fmt.Errorf("making: %w", syscall.EEXIST)))
	var taken bytes.Buffer
	if err := takeBytes(&taken, strings.NewReader("content"), &memory{}, question{length: 7}); err != nil {
		t.Fatal(err)
	}
	if err := takeBytes(&taken, strings.NewReader("content"), &memory{full: true}, question{length: 7}); err != nil {
		t.Fatal(err)
	}
	golden(t, "taken", taken.Bytes())
}

// memory is a file of which nothing is written to a disk.
type memory struct {
	content []byte
	full    bool
}

func (m *memory) WriteAt(p []byte, offset int64) (int, error) {
	if m.full {
		return 0, syscall.ENOSPC
	}
	m.content = append(m.content[:min(int(offset), len(m.content))], p...)
	return len(p), nil
}
func (m *memory) Close() error   { return nil }
func (m *memory) Sync() error    { return nil }
func (m *memory) Info() FileInfo { return FileInfo{} }

// FuzzTakeBytes: whatever an owner sends, as much as it has announced is read, and
// answered with one piece.
func FuzzTakeBytes(f *testing.F) {
	f.Add(append(question{offset: 3, length: 4}.encode(), "four"...), false)
	f.Add(append(question{length: MaxRead}.encode(), "less"...), false)
	f.Add(question{}.encode(), true)
	f.Fuzz(func(t *testing.T, in []byte, full bool) {
		r := bytes.NewReader(in)
		q, err := readQuestion(r)
		if err != nil {
			return
		}
		before := r.Len()
		var out bytes.Buffer
		file := &memory{full: full}
		if err := takeBytes(&out, r, file, q); err != nil {
			if before >= int(q.length) || out.Len() > 0 {
				t.Errorf("%d of %d bytes: %v, answered with %d bytes", before, q.length, err, out.Len())
			}
			return
		}
		if r.Len() != before-int(q.length) {
			t.Errorf("%d bytes were read of %d", before-r.Len(), q.length)
		}
		if err := readTaken(&out); (err != nil) != (full && q.length > 0) || out.Len() != 0 {
			t.Errorf("the answer is %v, and %d bytes are left", err, out.Len())
		}
	})
}

func FuzzReadTaken(f *testing.F) {
	f.Add(answerHead(statusOK, 0))
	f.Add(answerHead(statusOK, 1))
	f.Add(binary.BigEndian.AppendUint32([]byte{byte(statusFile)}, maxHeader+1))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		if err := readTaken(r); err == nil && !bytes.Equal(in[:len(in)-r.Len()], answerHead(statusOK, 0)) {
			t.Errorf("%x says that all was written", in)
		} else if errors.Is(err, io.EOF) {
			t.Errorf("%x: %v", in, err)
		}
	})
}
