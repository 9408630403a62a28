package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// rewrite gives a file another text, all of it or none: on a full disk, or when this
// machine goes down meanwhile, the old one is there. A link stays a link.
func rewrite(file string, text []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", file, cause(err))
		}
	}()
	file, err = filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	was, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !was.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	now, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = now.Write(text)
	if err == nil {
		keepOwner(now, was) // before the mode, whose special bits it takes away
		err = now.Chmod(was.Mode())
	}
	if err == nil {
		err = now.Sync()
	}
	err = errors.Join(err, now.Close())
	if err == nil {
		err = os.Rename(now.Name(), file)
	}
	if err != nil {
		_ = os.Remove(now.Name()) // what is wrong is known already
	}
	return err
}

// cause is an error without the name of a file that is nobody's business.
func cause(err error) error {
	var path *os.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
