// Package tunnel is the wire between an owner's end (the command line tool) and
// an agent in the cluster: both ends of it, and this comment, which is its
// specification. It does not know how the raw connections come about, what the
// owner's end does with what it carries, or what a pod is.
//
// # Layers
//
//	streams   mux     many two-way streams, flow control, half-close, reset
//	link      replay  one byte stream that outlives raw connections
//	TLS 1.3           both ends' keys pinned
//	raw               any two-way byte stream that the owner's end opens
//
// Numbers are big-endian. A length is checked against its limit before memory
// is taken for what it announces. Whatever breaks a rule written here ends the
// link; whatever is wrong only with what one stream asks for is answered on
// that stream.
//
// # Raw and TLS
//
// The owner's end dials. TLS 1.3, no resumption, no name, no chain: each end
// shows one self-signed certificate, and the other compares the SHA-256 of its
// PKIX public key with what it was told beforehand (Fingerprint). Either end
// hangs up on any other key. Ten seconds for TLS and the link's handshake.
//
// # The link
//
// Over TLS the owner's end speaks first:
//
//	hello (30 bytes)  "UNDY", version, op, 16 bytes link ID, uint64 received
//	reply (14 bytes)  "UNDY", version, status, uint64 received
//
// op is 1 for a new link, of a random ID and with received 0, and 2 to go on
// with one. received is how many bytes of the stream the sender has received;
// the other goes on sending from there. status is 0 for yes, 1 for another
// version, 2 where no link of that ID is known, 3 where the owner has begun
// another link since. The first six bytes are the same in all versions, and the
// agent answers a version that it does not speak with its own and status 1, so
// that either end can name both. An agent has one owner: a new link ends the
// one before, with all that was open in it, before it is answered.
//
// Frames follow, in both directions:
//
//	1 DATA   uint16 length (1 to 16381), bytes of the stream
//	2 ACK    uint64 received
//	3 PING   uint64, anything
//	4 PONG   uint64, that of the PING
//	5 CLOSE  reason: 1 bye, 2 superseded, 3 shutting down
//
// An ACK is sent after 64 KiB at the latest, and once a second if there is
// anything new to acknowledge. The sender keeps what is not acknowledged, at
// most 4 MiB (5 with frames that must not wait); an ACK of anything that was
// not sent ends the link. Once a second an end that has heard nothing for half
// a second sends PING, and at least every five; after five seconds without a
// byte it gives the raw connection up. The owner's end then dials anew and sends
// a hello with op 2; the agent's end waits for it. Nothing of the stream is lost or comes twice, and nobody above
// notices but by the delay.
//
// A link ends with CLOSE, which is sent behind all that was written; when the
// agent has heard nothing for the length of the lease; or when it cannot go on
// (status 2 or 3). Then all streams end with it: the agent closes every
// listener, resets every connection and is not ready. The owner's end begins a
// new link unless it was superseded, and its owner opens again what it needs.
//
// # Streams
//
// Frames in the link: type, 0, uint16 length, uint32 stream, then length bytes.
//
//	1 OPEN    uint32 window, header (at most 16 KiB)
//	2 REPLY   uint32 window, reply (at most 16 KiB)
//	3 DATA    1 to 16384 bytes
//	4 WINDOW  uint32 bytes more that may be sent
//	5 FIN     the sender sends no more
//	6 STOP    the sender reads no more
//	7 RESET   code: 0 reset, 1 refused, 2 too many streams, 3 cancelled
//
// The owner's end opens odd streams, the agent's even ones, each number higher
// than the last, 0 never. One REPLY answers each OPEN, and nothing else is sent
// on a stream before it. window is how many bytes of DATA the sender takes at
// first; more than was allowed, and DATA after FIN, end the link. A direction
// has ended with its FIN or the other end's STOP, a stream when both
// directions have, or with RESET. Frames of a stream that has ended, or never
// was, are dropped: they may have been under way. At most 4096 streams opened
// by either end are open at a time; one more is answered with RESET 2.
//
// The agent's windows begin at 8 KiB, the owner's at 256 KiB; they grow for a
// stream that is held back by its window (to 1 MiB, out of 4 MiB for all
// streams, and to 4 MiB, out of 256). So 1,000 connections whose pods read
// nothing cost the agent 12 MiB at most, and what it sends is kept once, in
// the link.
//
// # What streams are for
//
// The header in OPEN and the reply in REPLY are
//
//	header  version, kind, uint16 length (at most 8192), JSON
//	reply   status, uint16 length (at most 8192), JSON
//
// status 0 is success. Others, with {"message"}: 1 refused, 2 unreachable,
// 3 timed out, 4 forbidden, 5 in use, 6 not found, 7 changing, 8 too large,
// 9 another session, 10 another version, 11 protocol error, 12 anything else,
// 13 too many connections. 14, with {"message","errno"}, is of 8 to 13 alone:
// what the container's kernel said, by its name ("ENOENT"). Unknown fields of JSON are ignored.
//
//	1 control   {"session"} -> {}; then the agent's messages
//	2 TCP       {"to"} -> {"from"} once connected; then the connection's bytes
//	3 UDP       {"to"} -> {}; then datagrams both ways: uint16 length (at most
//	            65507), bytes. RESET 1 where nobody listens; ends when idle; one for
//	            which the owner's end has no room is lost
//	4 listen    {"network","port","loopback","addrs","listen"} -> {"addr"}; the
//	            port is open while the stream is. listen is a number of the
//	            owner's end, addrs a list of at most 32
//	5 accepted  {"listen","peer","local"} -> {}; the agent opens it for each
//	            connection to the port; then its bytes. For each peer of a UDP
//	            port, too, of which there are at most 1024; then datagrams as 3
//	            has them, until the flow is idle or the port closed
//	6 tree      {"mount"} -> {}; then records
//	7 ready     {"ready"} -> {} once the agent knows it
//	8 look      {"path"} -> {"mode","size","modified","inode","target"} of what
//	            is there, a link not followed
//	9 list      {"path"} -> {}; then entries
//	10 read     {"path"} -> as 8, of a regular file; then questions and answers
//	11 space    {"path"} -> {"blockSize","blocks","free","available","files",
//	            "freeFiles"} of the file system
//	12 change   {"op","path","to","mode","size","modified","keep"} -> as 8, of
//	            what is there then; op is mkdir, symlink, unlink, rmdir, rename,
//	            chmod, truncate or touch
//	13 write    {"path","create","exclusive","mode","truncate","append"} -> as 8,
//	            of a regular file; then questions and answers
//	14 end      {} -> {} at once; nothing of the owner's uses the pod any more, and
//	            the agent gives back what it has taken. Status 11 from one that
//	            does not know it: the end comes by way of the cluster all the same
//
// The control stream is the owner's first and only one of its kind; every
// other before it is a protocol error. FIN and RESET of TCP streams are those
// of the connections: FIN is the end of a direction, RESET a connection reset,
// STOP that the local end is closed for reading.
//
// Messages and records are: type, uint32 length, JSON, and limited by type:
//
//	1 welcome  16 MiB  Welcome; the first on a control stream, once; variables
//	                   that are not UTF-8 are "environmentBytes", in base64
//	2 event    1 MiB   Event; whenever something has changed
//	3 file     16 KiB  {"path","mode","size"}, followed by size bytes (2 MiB)
//	4 end      16 KiB  {"version","status","message"}; the last of a tree
//	5 entry    16 KiB  {"name", and as 8 has them}
//	6 list end 16 KiB  {"message","errno"}; the last of a list, {} of a whole one
//
// A tree has at most 8192 files and 16 MiB. It ends with status 7 where the
// content changed meanwhile; the owner's end asks again.
//
// # The container's files
//
// An agent whose welcome says "remoteFiles" serves 8 to 11, with the container's
// rights and nothing beyond; another answers them with status 11. Paths, names
// and targets are bytes, in base64; a path has at most 4095, two paths of one
// change together 5800, a list 100,000 entries. A read stream is an open file, of which there are at most 512. On it
//
//	question  uint64 offset, uint32 length (at most 1 MiB)
//	answer    pieces: status, uint32 length, bytes
//
// Questions are answered in their order. Pieces of status 0 have at most 16 KiB
// and together what was asked for; an empty one says that the file ends there,
// and one of status 14 ({"message","errno"}, at most 8192 bytes) that it cannot
// be read on: either ends the answer, not the stream.
//
// An agent whose welcome says "writesFiles" serves 12 and 13 as well; another
// answers them with status 11. A write stream is an open file like a read stream.
// On it a question is followed by as many bytes as it says, which are written from
// its offset on, or with "append" at the end; none of them has the file synced to
// its disk. The answer is one piece: an empty one of status 0 when all is done, or
// one of status 14, after which some of the bytes may have been written.
package tunnel
