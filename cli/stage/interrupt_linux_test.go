package stage

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// Ctrl-C at whatever moment ends it: while the stage is built, when the command is
// about to be started, and when it runs.
func TestInterruptAnyMoment(t *testing.T) {
	p := players(t)[0]
	start := func() *show {
		c := command(t, p, script{EndBySignal: true}, "sh", "-c", "echo runs; exec sleep 1000")
		if c.SysProcAttr == nil {
			c.SysProcAttr = &syscall.SysProcAttr{}
		}
		c.SysProcAttr.Setpgid = true
		return begin(t, c)
	}
	interrupt := func(s *show) {
		_ = syscall.Kill(-s.Process.Pid, syscall.SIGINT)
		s.exitCode()
	}
	began := time.Now()
	first := start()
	first.expect("runs")
	whole := time.Since(began)
	interrupt(first)
	for range 100 {
		s := start()
		// Most of them where the command is being started.
		<-time.After(whole - rand.N(whole/2))
		interrupt(s)
	}
}
