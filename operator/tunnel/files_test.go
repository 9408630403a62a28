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
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// filePod is a pod whose files are those of a folder.
type filePod struct {
	*pod
	dir string
}

func (p filePod) Look(_ context.Context, path string) (FileInfo, error) {
	info, err := os.Lstat(filepath.Join(p.dir, path))
	if err != nil {
		return FileInfo{}, err
	}
	target, _ := os.Readlink(filepath.Join(p.dir, path))
	return FileInfo{Mode: uint32(info.Mode().Perm()), Size: info.Size(), Target: []byte(target)}, nil
}

func (p filePod) List(_ context.Context, path string, each func(Entry) error) error {
	entries, err := os.ReadDir(filepath.Join(p.dir, path))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := each(Entry{Name: []byte(entry.Name())}); err != nil {
			return err
		}
	}
	return nil
}

type openedFile struct{ *os.File }

func (f openedFile) Info() FileInfo {
	info, _ := f.Stat()
	return FileInfo{Size: info.Size()}
}

func (p filePod) OpenFile(_ context.Context, path string) (OpenedFile, error) {
	file, err := os.Open(filepath.Join(p.dir, path))
	if err != nil {
		return nil, err
	}
	return openedFile{file}, nil
}

func (p filePod) Space(context.Context, string) (Space, error) {
	return Space{BlockSize: 4096, Blocks: 7}, nil
}

// filesOf is a client of an agent that reads the files of a folder.
func filesOf(t *testing.T, dir string) *Client {
	t.Helper()
	s := newStand(t, overTCP(t))
	s.halt()
	s.config.Handler = filePod{s.pod, dir}
	s.start()
	return s.connect(s.clientConfig())
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	large := bytes.Repeat([]byte("0123456789abcde\n"), 3<<16) // 3 MiB
	odd := "odd \xff name"
	for name, content := range map[string][]byte{"large": large, "empty": nil, odd: []byte("x")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("to \xff", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	client := filesOf(t, dir)
	ctx := t.Context()

	info, err := client.Look(ctx, "/large")
	if err != nil || info.Size != int64(len(large)) || info.Mode != 0o640 {
		t.Errorf("the large file is %+v, %v", info, err)
	}
	if info, err = client.Look(ctx, "/link"); err != nil || string(info.Target) != "to \xff" {
		t.Errorf("the link is %+v, %v", info, err)
	}
	if _, err = client.Look(ctx, "/nothing"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err = client.Look(ctx, "/large/below"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
	if _, err = client.Look(ctx, "/"+strings.Repeat("x", MaxPath)); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("of a long name: %v", err)
	}
	entries, err := client.List(ctx, "/")
	var names []string
	for _, entry := range entries {
		names = append(names, string(entry.Name))
	}
	if diff := cmp.Diff([]string{"empty", "large", "link", odd}, names); diff != "" || err != nil {
		t.Errorf("the list: %v\n%s", err, diff)
	}
	if _, err = client.List(ctx, "/large"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("the list of a file: %v", err)
	}
	if space, err := client.Space(ctx, "/"); err != nil || space.Blocks != 7 {
		t.Errorf("space %+v, %v", space, err)
	}

	file, err := client.OpenFile(ctx, "/large")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got := make([]byte, len(large))
	if n, err := file.Read(ctx, got, 0); err != nil || n != len(large) || !bytes.Equal(got, large) {
		t.Errorf("read %d bytes: %v", n, err)
	}
	if n, err := file.Read(ctx, got, int64(len(large))-5); n != 5 || !errors.Is(err, io.EOF) || string(got[:5]) != "bcde\n" {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if n, err := file.Read(ctx, got[:10], int64(len(large))+5); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	if n, err := file.Read(ctx, got[:16], 16); n != 16 || err != nil {
		t.Errorf("after that: %d, %v", n, err)
	}
	folder, err := client.OpenFile(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	for range 2 { // an error of the file's own is not the stream's end
		if _, err := folder.Read(ctx, got[:10], 0); !errors.Is(err, syscall.EISDIR) || errors.Is(err, ErrLost) {
			t.Errorf("reading a folder: %v", err)
		}
	}

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := file.Read(cancelled, got, 0); err == nil {
		t.Error("read although nobody waits")
	}
	if _, err := file.Read(ctx, got, 0); !errors.Is(err, ErrLost) {
		t.Errorf("after a read that was given up: %v", err)
	}
}

// A pod has only so many files open.
func TestFilesLimit(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	client := filesOf(t, dir)
	for range MaxOpenFiles {
		file, err := client.OpenFile(t.Context(), "/x")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
	}
	if _, err := client.OpenFile(t.Context(), "/x"); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("one more: %v", err)
	}
}

// An agent that reads no files says so, whether or not it knows of them.
func TestNoFiles(t *testing.T) {
	s := newStand(t, overTCP(t))
	client := s.connect(s.clientConfig())
	if _, err := client.Look(t.Context(), "/etc"); !errors.Is(err, ErrNoFiles) {
		t.Errorf("got %v", err)
	}
	if client.Welcome().RemoteFiles {
		t.Error("the welcome speaks of files")
	}
}

func TestFilesGoldenBytes(t *testing.T) {
	info := FileInfo{Mode: 0o120777, Size: 4, Modified: 1_700_000_000_000_000_000, Inode: 42, Target: []byte("to \xff")}
	golden(t, "look", must(encodeHeader(kindLook, lookAt{Path: []byte("/a \xff")})))
	golden(t, "reply-look", must(encodeReply(statusOK, info)))
	golden(t, "reply-space", must(encodeReply(statusOK, Space{BlockSize: 4096, Blocks: 1, Free: 2, Available: 3, Files: 4, FreeFiles: 5})))
	golden(t, "reply-errno", fileReply(fmt.Errorf("opening: %w", syscall.EACCES)))
	golden(t, "question", question{offset: 1 << 33, length: MaxRead}.encode())
	var b bytes.Buffer
	writeMessage(&b, recordEntry, Entry{Name: []byte("n\xff"), FileInfo: info})
	writeMessage(&b, recordListEnd, fileFailure{})
	golden(t, "entries", b.Bytes())
	b.Reset()
	if err := answerQuestion(&b, strings.NewReader("content"), question{offset: 3, length: 100}); err != nil {
		t.Fatal(err)
	}
	golden(t, "answer", b.Bytes())
}

func TestFilesLimitsBeforeAllocation(t *testing.T) {
	head := func(status Status, length uint32) []byte {
		return binary.BigEndian.AppendUint32([]byte{byte(status)}, length)
	}
	var p [100]byte
	for name, in := range map[string][]byte{
		"more than was asked for": head(statusOK, 101), "a large refusal": head(statusFile, maxHeader+1), "another status": head(statusBusy, 1),
	} {
		if _, err := readAnswer(bytes.NewReader(in), p[:]); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, q := range []question{{length: MaxRead + 1}, {offset: 1 << 63, length: 1}} {
		if _, err := readQuestion(bytes.NewReader(q.encode())); !errors.Is(err, ErrProtocol) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readEntries(bytes.NewReader(binary.BigEndian.AppendUint32([]byte{recordEntry}, maxRecord+1)))
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ErrTooLarge) || took > 64<<10 {
		t.Errorf("an entry that is too large: %v, and %d bytes", err, took)
	}
}

func FuzzReadEntries(f *testing.F) {
	var b bytes.Buffer
	writeMessage(&b, recordEntry, Entry{Name: []byte("n"), FileInfo: FileInfo{Mode: 1}})
	writeMessage(&b, recordListEnd, fileFailure{})
	f.Add(b.Bytes())
	b.Reset()
	writeMessage(&b, recordListEnd, fileFailureOf(syscall.EACCES))
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		entries, err := readEntries(bytes.NewReader(in))
		if err == nil && len(entries) > MaxEntries {
			t.Errorf("%d entries", len(entries))
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	var b bytes.Buffer
	if err := answerQuestion(&b, strings.NewReader("content"), question{length: 10}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(fileReply(syscall.EIO))
	f.Fuzz(func(t *testing.T, in []byte) {
		p := make([]byte, 64)
		if n, err := readAnswer(bytes.NewReader(in), p); n > len(p) || err == nil && n != len(p) {
			t.Errorf("read %d bytes: %v", n, err)
		}
	})
}

func FuzzReadQuestion(f *testing.F) {
	f.Add(question{offset: 1, length: 2}.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if q, err := readQuestion(bytes.NewReader(in)); err == nil && !bytes.Equal(q.encode(), in[:questionSize]) {
			t.Errorf("%x is %+v", in, q)
		}
	})
}
