//go:build !unix

package command

import "os"

// keepOwner has nothing to do: a file has its folder's rights.
func keepOwner(*os.File, os.FileInfo) {}
