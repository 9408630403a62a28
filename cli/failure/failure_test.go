package failure_test

import (
	"errors"
	"fmt"
	"testing"

	"understudy.dev/understudy/cli/failure"
)

type hinted struct{}

func (hinted) Error() string { return "hinted" }
func (hinted) Hint() string  { return "from the cause" }

func TestFailure(t *testing.T) {
	cause := errors.New("the cause")
	for name, tc := range map[string]struct {
		err  error
		text string
		hint string
		code int
	}{
		"plain":            {cause, "the cause", "", 125},
		"own":              {failure.New("do this", "no %s", "worker"), "no worker", "do this", 125},
		"wrapped":          {fmt.Errorf("starting: %w", &failure.Failure{What: "x", Hint: "h", Code: 127}), "starting: x", "h", 127},
		"cause text":       {&failure.Failure{What: "x", Err: cause}, "x: the cause", "", 125},
		"hint of a cause":  {&failure.Failure{What: "x", Err: hinted{}}, "x: hinted", "from the cause", 125},
		"code of a cause":  {&failure.Failure{What: "x", Err: &failure.Failure{What: "y", Code: 126, Hint: "z"}}, "x: y", "z", 126},
		"outer hint first": {&failure.Failure{What: "x", Hint: "outer", Err: hinted{}}, "x: hinted", "outer", 125},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.err.Error(); got != tc.text {
				t.Errorf("text %q, want %q", got, tc.text)
			}
			if got := failure.Hint(tc.err); got != tc.hint {
				t.Errorf("hint %q, want %q", got, tc.hint)
			}
			if got := failure.Code(tc.err); got != tc.code {
				t.Errorf("code %d, want %d", got, tc.code)
			}
		})
	}
	if got := failure.Code(nil); got != 0 {
		t.Errorf("no error has code %d", got)
	}
}
