package agent

import (
	"net"
	"strings"
	"testing"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
)

func TestReadiness(t *testing.T) {
	for _, test := range []struct {
		name   string
		config settings.Config
		ready  bool
		open   []uint16
		want   string // part of the reason, empty for ready
	}{
		{"nothing said", settings.Config{ShareTraffic: true}, false, nil, "session is not ready"},
		{"no Service", settings.Config{ShareTraffic: true}, true, nil, ""},
		{"listening", settings.Config{ShareTraffic: true, ServicePorts: []uint16{80, 81}}, true, []uint16{81, 80}, ""},
		{"one of two", settings.Config{ShareTraffic: true, ServicePorts: []uint16{80, 81, 82}}, true, []uint16{80}, "port 81, 82"},
		{"listening, not ready", settings.Config{ShareTraffic: true, ServicePorts: []uint16{80}}, false, []uint16{80}, "session is not ready"},
		{"a copy", settings.Config{ServicePorts: []uint16{80}}, true, []uint16{80}, "takes no share"},
	} {
		t.Run(test.name, func(t *testing.T) {
			state := newReadiness(&test.config)
			state.setReady(test.ready)
			for _, port := range test.open {
				state.opened(port, 1)
			}
			got := state.reason()
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("reason %q, not %q", got, test.want)
			}
			for _, port := range test.open {
				state.opened(port, -1)
			}
			if len(test.config.ServicePorts) > 0 && state.reason() == "" {
				t.Error("ready with all listeners closed")
			}
		})
	}
}

func TestProbe(t *testing.T) {
	name := probeName(1)
	if err := askProbe(name); err == nil {
		t.Error("ready without an agent")
	}
	listener, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	state := newReadiness(&settings.Config{ShareTraffic: true})
	done := make(chan struct{})
	go func() {
		defer close(done)
		answerProbes(listener, state.reason)
	}()
	if err := askProbe(name); err == nil || err.Error() != "the session is not ready" {
		t.Errorf("got %v", err)
	}
	if err := askSoon(name); err == nil || err.Error() != "the session is not ready" {
		t.Errorf("asked for a while: %v", err)
	}
	soon := time.AfterFunc(soonFor/5, func() { state.setReady(true) })
	defer soon.Stop()
	if err := askSoon(name); err != nil {
		t.Errorf("ready soon: %v", err)
	}
	if err := askProbe(name); err != nil {
		t.Errorf("got %v", err)
	}
	listener.Close()
	<-done
}
