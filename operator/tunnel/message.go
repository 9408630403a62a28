package tunnel

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Types of the messages on a control stream and of the records of a tree and of a folder.
const (
	messageWelcome = 1
	messageEvent   = 2
	recordFile     = 3 // followed by the file's bytes
	recordEnd      = 4
	recordEntry    = 5 // of a folder
	recordListEnd  = 6 // the last of a folder
)

// fileRecord stands before a file's bytes in a tree.
type fileRecord struct {
	Path string `json:"path"`
	Mode uint32 `json:"mode"`
	Size int    `json:"size"`
}

// endRecord is the last of a tree.
type endRecord struct {
	Version string `json:"version,omitempty"`
	Status  Status `json:"status"`
	Message string `json:"message,omitempty"`
}

// limits of each type's JSON, in bytes.
var messageLimits = map[byte]int{
	messageWelcome: MaxWelcome,
	messageEvent:   MaxEvent,
	recordFile:     maxRecord,
	recordEnd:      maxRecord,
	recordEntry:    maxRecord,
	recordListEnd:  maxRecord,
}

// writeMessage writes a type, a length and JSON.
func writeMessage(w io.Writer, kind byte, body any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	if len(content) > messageLimits[kind] {
		return fmt.Errorf("encoding a message of type %d: %d bytes: %w", kind, len(content), ErrTooLarge)
	}
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(content)))
	_, err = w.Write(append(head, content...))
	return err
}

// readMessage reads one of them. Its memory grows with what really arrives.
func readMessage(r io.Reader) (kind byte, body json.RawMessage, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	length := int64(binary.BigEndian.Uint32(head[1:]))
	limit, known := messageLimits[head[0]]
	if !known {
		return 0, nil, fmt.Errorf("message of unknown type %d: %w", head[0], ErrProtocol)
	}
	if length > int64(limit) {
		return 0, nil, fmt.Errorf("message of type %d and %d bytes: %w", head[0], length, ErrTooLarge)
	}
	content, err := readExactly(r, length)
	return head[0], content, err
}

// readExactly reads n bytes into memory that grows with what arrives: a length
// is only a claim.
func readExactly(r io.Reader, n int64) ([]byte, error) {
	const step = 64 << 10
	content := make([]byte, 0, min(n, step))
	for int64(len(content)) < n {
		at := len(content)
		more := int(min(n-int64(at), max(step, int64(at))))
		content = append(content, make([]byte, more)...)
		if _, err := io.ReadFull(r, content[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return content, nil
}

// writeFile writes one file of a tree.
func writeFile(w io.Writer, file File) error {
	if len(file.Data) > MaxFileSize {
		return fmt.Errorf("file %s of %d bytes: %w", file.Path, len(file.Data), ErrTooLarge)
	}
	if err := writeMessage(w, recordFile, fileRecord{Path: file.Path, Mode: file.Mode, Size: len(file.Data)}); err != nil {
		return err
	}
	_, err := w.Write(file.Data)
	return err
}

// readFiles reads a whole tree.
func readFiles(r io.Reader) (Tree, error) {
	var tree Tree
	total := 0
	for {
		kind, body, err := readMessage(r)
		if err != nil {
			return Tree{}, err
		}
		switch kind {
		case recordEnd:
			var end endRecord
			if err := json.Unmarshal(body, &end); err != nil {
				return Tree{}, fmt.Errorf("decoding a tree's end: %w: %w", ErrProtocol, err)
			}
			tree.Version = end.Version
			return tree, errorOf(end.Status, end.Message)
		case recordFile:
			var record fileRecord
			if err := json.Unmarshal(body, &record); err != nil {
				return Tree{}, fmt.Errorf("decoding a file of a tree: %w: %w", ErrProtocol, err)
			}
			total += record.Size
			if record.Size < 0 || record.Size > MaxFileSize || total > MaxTreeSize || len(tree.Files) == MaxTreeFiles {
				return Tree{}, fmt.Errorf("file %q of %d bytes after %d files: %w", record.Path, record.Size, len(tree.Files), ErrTooLarge)
			}
			data, err := readExactly(r, int64(record.Size))
			if err != nil {
				return Tree{}, err
			}
			tree.Files = append(tree.Files, File{Path: record.Path, Mode: record.Mode, Data: data})
		default:
			return Tree{}, fmt.Errorf("message of type %d in a tree: %w", kind, ErrProtocol)
		}
	}
}

// discard is io.Discard without its ReadFrom, whose buffers are large.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
