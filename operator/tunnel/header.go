package tunnel

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"

	"understudy.dev/understudy/operator/tunnel/replay"
)

// Version of the protocol: of the link and of the streams in it.
const Version = replay.Version

// Kind is what a stream is for.
type Kind byte

// The kinds, as on the wire.
const (
	kindControl  Kind = 1  // owner: the welcome, then events
	kindTCP      Kind = 2  // owner: a connection from the pod's network
	kindUDP      Kind = 3  // owner: a flow from the pod's network
	kindListen   Kind = 4  // owner: a port in the cluster, while the stream lives
	kindAccepted Kind = 5  // agent: a connection that came in on such a port
	kindTree     Kind = 6  // owner: the files of a mount
	kindReady    Kind = 7  // owner: whether the session takes traffic
	kindLook     Kind = 8  // owner: what is at a path of the container
	kindList     Kind = 9  // owner: what is in a folder
	kindRead     Kind = 10 // owner: bytes of a file, while the stream lives
	kindSpace    Kind = 11 // owner: how full a file system is
	kindChange   Kind = 12 // owner: a change of the container's files
	kindWrite    Kind = 13 // owner: bytes for a file, while the stream lives
	kindEnd      Kind = 14 // owner: nothing of it uses the pod any more
)

// hello is the body of a control stream's header.
type hello struct {
	Session string `json:"session"`
}

// dial is the body for TCP and UDP.
type dial struct {
	To netip.AddrPort `json:"to"`
}

// dialled is the reply to TCP.
type dialled struct {
	// From is the connection's address in the pod.
	From netip.AddrPort `json:"from"`
}

// listening is the reply to a listen stream.
type listening struct {
	Addr netip.AddrPort `json:"addr"`
}

// accepted is the body for a connection that came in.
type accepted struct {
	// Listen is the number that the owner's end gave to the listener.
	Listen uint32         `json:"listen"`
	Peer   netip.AddrPort `json:"peer"`
	Local  netip.AddrPort `json:"local"`
}

// readTree is the body for reading a mount.
type readTree struct {
	Mount string `json:"mount"`
}

// ready is the body for readiness.
type ready struct {
	Ready bool `json:"ready"`
}

// failure is a reply's body for every status but OK.
type failure struct {
	Message string `json:"message,omitempty"`
}

// encodeHeader is a stream's header: version, kind, length, body.
func encodeHeader(kind Kind, body any) ([]byte, error) {
	return encodeBody([]byte{Version, byte(kind)}, body)
}

func encodeBody(b []byte, body any) ([]byte, error) {
	content, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding a stream's header: %w", err)
	}
	if len(content) > maxHeader {
		return nil, fmt.Errorf("encoding a stream's header: %d bytes: %w", len(content), ErrTooLarge)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(content)))
	return append(b, content...), nil
}

// decodeHeader is the reverse; the body is JSON not yet looked at.
func decodeHeader(b []byte) (Kind, json.RawMessage, error) {
	if len(b) < 1 || b[0] != Version {
		theirs := byte(0)
		if len(b) > 0 {
			theirs = b[0]
		}
		return 0, nil, &VersionError{Ours: Version, Theirs: theirs}
	}
	if len(b) < 2 {
		return 0, nil, fmt.Errorf("stream header of %d bytes: %w", len(b), ErrProtocol)
	}
	body, err := decodeBody(b[2:])
	return Kind(b[1]), body, err
}

func decodeBody(b []byte) (json.RawMessage, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("stream header cut off: %w", ErrProtocol)
	}
	length := int(binary.BigEndian.Uint16(b))
	if length > maxHeader || length != len(b)-2 {
		return nil, fmt.Errorf("stream header of %d bytes with a body of %d: %w", len(b)-2, length, ErrProtocol)
	}
	return b[2:], nil
}

// encodeReply is a stream's reply: status, length, body.
func encodeReply(status Status, body any) ([]byte, error) {
	return encodeBody([]byte{byte(status)}, body)
}

// failureReply says err, in as many words as fit.
func failureReply(err error) []byte {
	message := err.Error()
	if len(message) > maxHeader/8 {
		message = message[:maxHeader/8]
	}
	reply, encodeErr := encodeReply(statusOf(err), failure{Message: message})
	if encodeErr != nil {
		return []byte{byte(statusInternal), 0, 2, '{', '}'}
	}
	return reply
}

// decodeReply reads a reply into body, or returns the failure that it says.
func decodeReply(b []byte, body any) error {
	if len(b) < 1 {
		return fmt.Errorf("empty reply: %w", ErrProtocol)
	}
	content, err := decodeBody(b[1:])
	if err != nil {
		return err
	}
	if status := Status(b[0]); status != statusOK {
		if status == statusFile {
			var said fileFailure
			if err := json.Unmarshal(content, &said); err != nil {
				return fmt.Errorf("decoding a reply: %w: %w", ErrProtocol, err)
			}
			return said.err()
		}
		var said failure
		if err := json.Unmarshal(content, &said); err != nil {
			return fmt.Errorf("decoding a reply: %w: %w", ErrProtocol, err)
		}
		return errorOf(status, said.Message)
	}
	if body == nil {
		return nil
	}
	if err := json.Unmarshal(content, body); err != nil {
		return fmt.Errorf("decoding a reply: %w: %w", ErrProtocol, err)
	}
	return nil
}
