package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// UnreadableError is about a record that is there and cannot be read, such as
// one that another version has written.
type UnreadableError struct {
	Session string
	Path    string
	// PodUID that it names all the same; empty where it cannot be told.
	PodUID string
	Err    error
}

func (e *UnreadableError) Error() string {
	pod := "it cannot be told of which pod it is"
	if e.PodUID != "" {
		pod = "it is of the pod with UID " + e.PodUID
	}
	return fmt.Sprintf("%s: %v; %s; have the version that wrote it end and thaw its session, or remove the file once nothing of that session is left on the node", e.Path, e.Err, pod)
}

func (e *UnreadableError) Unwrap() error { return e.Err }

func (d Dir) unreadable(session string, err error) *UnreadableError {
	e := &UnreadableError{Session: session, Path: d.path(session), Err: err}
	// Whatever else a format says, each has the pod's UID by this name.
	var named struct {
		PodUID string `json:"podUID"`
	}
	if data, err := os.ReadFile(e.Path); err == nil && json.Unmarshal(data, &named) == nil {
		e.PodUID = named.PodUID
	}
	return e
}

// Unreadable takes the error of List apart: into the records that cannot be read
// and the rest, which is nil if that is all.
func Unreadable(err error) (records []*UnreadableError, rest error) {
	var one *UnreadableError
	switch joined, ok := err.(interface{ Unwrap() []error }); {
	case err == nil:
	case ok:
		var others []error
		for _, err := range joined.Unwrap() {
			more, rest := Unreadable(err)
			records, others = append(records, more...), append(others, rest)
		}
		rest = errors.Join(others...)
	case errors.As(err, &one):
		records = append(records, one)
	default:
		rest = err
	}
	return records, rest
}
