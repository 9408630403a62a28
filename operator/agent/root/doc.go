// Package root reads the files of a container from outside of it, and changes
// them where its owner asks for that. It can be trusted with it: what the
// container's own processes plant must not lead it to anything that they could
// not read, or write, themselves.
//
// A child process opens the container's root, joins its mount namespace and
// takes on its user, groups and capabilities, and nothing comes back from that.
// From a process with a user namespace of its own it takes no capabilities: root
// there is an ordinary user of the node.
// There every path is resolved by openat2 with RESOLVE_IN_ROOT and
// RESOLVE_NO_MAGICLINKS: an absolute link, one with too many "..", a link of
// /proc, or a folder that is swapped for a link in between ends within the
// container's own root. Only regular files are opened for reading, by the very
// inode that was looked at: a device or a pipe never is. The same holds for
// writing; what makes, removes or renames something resolves the folder that it
// is in, and follows no link at the name itself.
//
// The program must call Main when it is started with Command.
package root
