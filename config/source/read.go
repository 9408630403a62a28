package source

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// mostText is how large a file may be, in bytes: the largest that we know of has a
// thousandth of it.
const mostText = 4 << 20

// ErrFolder is what Read says of a folder.
var ErrFolder = errors.New("it is a folder")

// Read reads a file that is not too large to be a configuration. One that was
// found, and not named, has to be a regular one: others may never end.
func Read(path string, named bool) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !named && !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	if info.IsDir() {
		return nil, ErrFolder
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostText+1))
	if err == nil && len(text) > mostText {
		return nil, fmt.Errorf("it has more than %d bytes, and no configuration has", mostText)
	}
	return text, err
}
