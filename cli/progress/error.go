package progress

import (
	"strings"

	"understudy.dev/understudy/cli/failure"
)

// Error prints err after "error:" and what to do about it after "hint:".
func (p *Printer) Error(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	p.labelled("error: ", err.Error())
	if hint := failure.Hint(err); hint != "" {
		p.labelled("hint:  ", hint)
	}
}

func (p *Printer) labelled(label, text string) {
	for i, part := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if i > 0 {
			label = strings.Repeat(" ", len(label))
		}
		p.raw(label + part)
	}
}
