package agent

import (
	"strings"
	"syscall"
	"testing"

	"understudy.dev/understudy/operator/agent/settings"
)

// A pod that another session has is not touched, by whatever lock, or none, that
// session came: the node's own records decide. Having done nothing is an end that
// needs no proof.
func TestNodeAgentPodHeld(t *testing.T) {
	w := newNodeWorld(t)
	first := w.agent(func(c *settings.Config) { c.Freeze.Owner = "ada@laptop" })
	first.awaitReady()
	sidecar, dirs := w.pod.Another()
	w.start(dirs)
	for name, id := range map[string]string{"the same container": w.pod.ID, "another one": sidecar} {
		t.Run(name, func(t *testing.T) {
			second := *w
			second.t, second.once = t, t.TempDir()
			p := second.agent(func(c *settings.Config) { c.Session, c.Freeze.ContainerID = "other", id })
			if err := p.awaitExit(); err != nil {
				t.Errorf("it ends with %v", err)
			}
			if said := p.stderr.String(); !strings.Contains(said, settings.NothingDone+"pod shop/worker is held by ada@laptop (session session-"+w.pod.UID+") since ") {
				t.Errorf("it says:\n%s", said)
			}
			w.pod.Still(w.target)
			w.pod.Moves(w.sidecar)
		})
	}
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.awaitExit(); err != nil {
		t.Errorf("the first ends with %v", err)
	}
	w.checkThawed()
}
