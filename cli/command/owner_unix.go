//go:build unix

package command

import (
	"os"
	"syscall"
)

// keepOwner gives a file the owner and the group that another has, as far as one may:
// who is not root may only name a group of their own.
func keepOwner(file *os.File, as os.FileInfo) {
	if owner, ok := as.Sys().(*syscall.Stat_t); ok && file.Chown(int(owner.Uid), int(owner.Gid)) != nil {
		_ = file.Chown(-1, int(owner.Gid))
	}
}
