package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
)

// probeTimeout of one question, below the kubelet's default of a second.
const probeTimeout = 800 * time.Millisecond

// readyAnswer is what the serving process says when the pod is to take traffic.
const readyAnswer = "ready"

// readiness is what decides whether the pod takes traffic.
type readiness struct {
	share    bool
	required []uint16

	mu    sync.Mutex
	ready bool
	open  map[uint16]int // listeners by port, those for the whole pod only
}

func newReadiness(config *settings.Config) *readiness {
	return &readiness{share: config.ShareTraffic, required: config.ServicePorts, open: map[uint16]int{}}
}

func (r *readiness) setReady(ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready = ready
}

func (r *readiness) opened(port uint16, change int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open[port] += change; r.open[port] == 0 {
		delete(r.open, port)
	}
}

// reason is why the pod takes no traffic, empty if it does.
func (r *readiness) reason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.share:
		return "a copy takes no share of its target's traffic unless asked to"
	case !r.ready:
		return "the session is not ready"
	}
	var missing []string
	for _, port := range r.required {
		if r.open[port] == 0 {
			missing = append(missing, fmt.Sprint(port))
		}
	}
	if len(missing) > 0 {
		return "the local process does not listen on the Services' port " + strings.Join(missing, ", ")
	}
	return ""
}

// probeName is the serving process's address for probes: a name in the pod's
// network namespace, not a file, as there may be no folder to write to.
func probeName(port uint16) string { return fmt.Sprintf("@understudy.dev/agent/%d", port) }

func listenProbes(name string) (net.Listener, error) {
	listener, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("listening for probes: %w", err)
	}
	return listener, nil
}

// answerProbes says to each connection, in a word or a sentence, whether the
// pod is ready; until the listener is closed.
// The reason why it is not is empty if it is.
func answerProbes(listener net.Listener, reason func() string) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		answer := reason()
		if answer == "" {
			answer = readyAnswer
		}
		conn.SetDeadline(time.Now().Add(probeTimeout))
		// Who does not take the answer has none.
		_, _ = io.WriteString(conn, answer)
		conn.Close()
	}
}

// askReady asks the process that serves dir's configuration. The error says why
// the pod is not ready.
func askReady(dir string) error {
	config, err := settings.LoadConfig(dir)
	if err != nil {
		return err
	}
	return askProbe(probeName(config.Port))
}

// soonFor is how long an agent on a node that is not ready yet is asked again. The
// kubelet asks first when the container has just begun, and then a second later:
// somebody waits for what happens in between.
const soonFor = 500 * time.Millisecond

// askSoon asks as often as it takes, for soonFor at most.
func askSoon(name string) error {
	enough := time.After(soonFor)
	for {
		err := askProbe(name)
		if err == nil {
			return nil
		}
		select {
		case <-enough:
			return err
		case <-time.After(soonFor / 25):
		}
	}
}

func askProbe(name string) error {
	conn, err := net.DialTimeout("unix", name, probeTimeout)
	if err != nil {
		return fmt.Errorf("asking the agent: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(probeTimeout))
	answer, err := io.ReadAll(io.LimitReader(conn, 1<<10))
	if err != nil {
		return fmt.Errorf("asking the agent: %w", err)
	}
	if string(answer) != readyAnswer {
		return errors.New(string(answer))
	}
	return nil
}
