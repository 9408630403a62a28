package tunnel

import "time"

// What either end refuses to receive more of; each is checked before memory is
// taken for it.
const (
	// MaxFileSize of one file in Welcome.Files or in a tree, in bytes: a
	// Secret or ConfigMap holds at most 1 MiB.
	MaxFileSize = 2 << 20
	// MaxTreeSize of all files of one tree together, in bytes.
	MaxTreeSize = 16 << 20
	// MaxTreeFiles in one tree.
	MaxTreeFiles = 8192
	// MaxWelcome in bytes of JSON: an environment is at most 2 MiB on Linux
	// and may double when it is quoted.
	MaxWelcome = 16 << 20
	// MaxEvent in bytes of JSON.
	MaxEvent = 1 << 20
	// MaxDatagram is the largest UDP payload over IPv4, in bytes.
	MaxDatagram = 65507
	// MaxListenAddrs at which one port may be opened.
	MaxListenAddrs = 32
	// MaxPath of a file, in bytes: the kernel's own.
	MaxPath = 4095
	// MaxEntries that are listed of one folder.
	MaxEntries = 100_000
	// MaxRead of a file in one question, in bytes.
	MaxRead = 1 << 20
	// MaxOpenFiles of the container at a time.
	MaxOpenFiles = 512
	// MaxStreams that one end accepts from the other at a time.
	MaxStreams = 4096

	// maxHeader of a stream's header and of its reply, in bytes of JSON.
	maxHeader = 8 << 10
	// maxRecord of the JSON before a file in a tree, in bytes.
	maxRecord = 16 << 10
)

// How long things may take; variables of the ends' configuration where tests
// and sessions differ.
const (
	// handshakeTimeout for TLS and the link's handshake together.
	handshakeTimeout = 10 * time.Second
	// DefaultLease after which an agent that has not heard from its owner
	// closes everything.
	DefaultLease = 60 * time.Second
)
