package progress

import (
	"fmt"
	"strings"
	"time"

	"understudy.dev/understudy/cli/failure"
)

// complain tells a person, line by line, of an error and what to do about it.
func complain(err error, line func(string)) {
	labelled("error: ", err.Error(), line)
	if hint := failure.Hint(err); hint != "" {
		labelled("hint:  ", hint, line)
	}
}

// stamped tells of something with the time since the start before it.
func stamped(elapsed time.Duration, text string, line func(string)) {
	labelled(fmt.Sprintf("%8s  ", seconds(elapsed)), text, line)
}

// labelled puts a label before a text, whose further lines are below its first.
func labelled(label, text string, line func(string)) {
	for i, part := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if i > 0 {
			label = strings.Repeat(" ", len(label))
		}
		line(label + part)
	}
}
