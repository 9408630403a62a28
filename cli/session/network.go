package session

import (
	"context"
	"errors"
	"net/url"
)

// errSilent: a request had no answer in the time that it was given.
var errSilent = errors.New("no answer")

// short is an error of a request without what a person does not need to read:
// the method, the whole address, and that it was a context that ended it.
func short(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errSilent
	}
	return err
}
