// Package connection ends the established TCP connections of frozen processes
// from outside, so that the other end sees a reset at once instead of waiting for
// one that does not answer.
//
// Exactly their own are ended: a connection is known by its socket's inode, which
// a process has among its open files. What another container of the same pod has
// is left alone, and so is what listens. UDP is not looked at, and not seen is a
// socket that no process has among its open files: one that is registered with
// io_uring alone, or on its way to another process in a message.
//
// There are two ways. The kernel destroys the socket when it is asked by netlink
// (SOCK_DESTROY), and the process, when it wakes, gets ECONNABORTED. A kernel that
// was built without CONFIG_INET_DIAG_DESTROY, and one that has MPTCP connections,
// is helped by a copy of the process's own descriptor (pidfd_getfd) that is
// disconnected, which sends a reset too; the process then gets ECONNRESET, or
// ENOTCONN for MPTCP.
//
// Neither is enough for processes that run on while the session does: what the first
// way closes can still be read. Discard leaves nothing to be read, and so goes the
// second way alone.
package connection
