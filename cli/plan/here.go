package plan

import (
	"strings"

	"understudy.dev/understudy/cli/failure"
)

// here is what this machine lacks.
func here(w *World) []Finding {
	var found []Finding
	if w.Here != nil {
		found = append(found, blockedBy(NoStage, w.Here))
	}
	if w.NoCommand != nil {
		found = append(found, blockedBy(NoCommand, w.NoCommand))
	}
	return found
}

// rights are what the cluster lacks for this user: an operator, or a right.
func rights(w *World) []Finding {
	var found []Finding
	if w.Installed != nil {
		found = append(found, blockedBy(NotInstalled, w.Installed))
	}
	if w.Idle != nil {
		found = append(found, blockedBy(OperatorIdle, w.Idle))
	}
	if w.Stands != nil {
		found = append(found, blockedBy(FreezeRefused, w.Stands))
	}
	for _, err := range w.Rights {
		found = append(found, blockedBy(MissingRight, err))
	}
	return found
}

// blockedBy is the finding that an error makes which a person can act on.
func blockedBy(code Code, err error) Finding {
	says := strings.TrimSuffix(err.Error(), "; nothing was changed in the cluster")
	return Finding{code, Blocks, says, failure.Hint(err)}
}
