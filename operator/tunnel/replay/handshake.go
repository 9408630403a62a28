package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version of the link's handshake and frames. Both ends must have the same.
const Version = 1

// magic begins both messages of the handshake.
const magic = "UNDY"

// Sizes of the handshake's two messages, in bytes. The first six bytes of each
// never change, so that any two versions can tell each other what they are.
const (
	helloSize = 30
	replySize = 14
	fixedSize = 6
)

// Op is what the dialling end asks for.
type Op byte

const (
	// OpNew begins a link, and ends any other that the same owner has.
	OpNew Op = 1
	// OpResume goes on with the link of that ID.
	OpResume Op = 2
)

// Status is the answer to it.
type Status byte

const (
	StatusOK      Status = 0
	StatusVersion Status = 1
	// StatusUnknown: no link of that ID, so it cannot go on.
	StatusUnknown Status = 2
	// StatusSuperseded: the owner has begun another link since.
	StatusSuperseded Status = 3
)

// What a handshake can come to, apart from success.
var (
	ErrUnknown    = errors.New("the other end does not know this link")
	ErrSuperseded = errors.New("the owner's end was started again elsewhere")
	errMagic      = errors.New("the other end does not speak this protocol")
	errHello      = errors.New("malformed hello")
)

// VersionError says that the two ends speak different versions.
type VersionError struct{ Ours, Theirs byte }

func (e *VersionError) Error() string {
	return fmt.Sprintf("this end speaks version %d of the tunnel, the other end version %d", e.Ours, e.Theirs)
}

// ID names one link.
type ID [16]byte

// Hello is the first message, of the dialling end.
type Hello struct {
	Op Op
	ID ID
	// Received is how many bytes of the stream the sender has received.
	Received uint64
}

func appendHello(b []byte, h Hello) []byte {
	b = append(b, magic...)
	b = append(b, Version, byte(h.Op))
	b = append(b, h.ID[:]...)
	return binary.BigEndian.AppendUint64(b, h.Received)
}

// ReadHello reads the dialling end's first message. After a *VersionError the
// caller should Refuse with StatusVersion, so that the other end can say so.
func ReadHello(r io.Reader) (Hello, error) {
	rest, op, err := readFixed(r, helloSize)
	if err != nil {
		return Hello{}, err
	}
	h := Hello{Op: Op(op), ID: ID(rest[:16]), Received: binary.BigEndian.Uint64(rest[16:])}
	if h.Op != OpNew && h.Op != OpResume || h.Op == OpNew && h.Received != 0 {
		return Hello{}, errHello
	}
	return h, nil
}

func appendReply(b []byte, status Status, received uint64) []byte {
	b = append(b, magic...)
	b = append(b, Version, byte(status))
	return binary.BigEndian.AppendUint64(b, received)
}

func readReply(r io.Reader) (uint64, error) {
	rest, status, err := readFixed(r, replySize)
	if err != nil {
		return 0, err
	}
	switch Status(status) {
	case StatusOK:
		return binary.BigEndian.Uint64(rest), nil
	case StatusUnknown:
		return 0, ErrUnknown
	case StatusSuperseded:
		return 0, ErrSuperseded
	}
	return 0, fmt.Errorf("the other end refuses the link with status %d", status)
}

// readFixed reads a message of size bytes, checks the part that all versions
// share, and returns its last byte and what follows.
func readFixed(r io.Reader, size int) (rest []byte, last byte, err error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b[:fixedSize]); err != nil {
		return nil, 0, err
	}
	if string(b[:4]) != magic {
		return nil, 0, errMagic
	}
	if b[4] != Version {
		return nil, 0, &VersionError{Ours: Version, Theirs: b[4]}
	}
	if _, err := io.ReadFull(r, b[fixedSize:]); err != nil {
		return nil, 0, err
	}
	return b[fixedSize:], b[5], nil
}

// Refuse answers a hello with anything but StatusOK.
func Refuse(w io.Writer, status Status) error {
	_, err := w.Write(appendReply(nil, status, 0))
	return err
}
