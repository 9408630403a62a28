package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// meter stands between the operator and the API server, and counts.
type meter struct {
	server *httptest.Server

	mu    sync.Mutex
	kinds map[string]*traffic
}

// traffic is what one kind of request came to.
type traffic struct {
	count   int
	bytes   int64
	biggest int64
}

func newMeter(config *rest.Config) (*meter, error) {
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's address: %w", err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the API server: %w", err)
	}
	m := &meter{kinds: map[string]*traffic{}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ModifyResponse = func(response *http.Response) error {
		response.Body = &counted{ReadCloser: response.Body, meter: m, kind: kindOf(response.Request)}
		return nil
	}
	m.server = httptest.NewUnstartedServer(proxy)
	m.server.EnableHTTP2 = true
	m.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	m.server.StartTLS()
	return m, nil
}

// config reaches the API server by way of the meter.
func (m *meter) config() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.server.Certificate().Raw})
	return &rest.Config{Host: m.server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

// close ends the operator's connections, watches too.
func (m *meter) close() {
	m.server.CloseClientConnections()
	m.server.Close()
}

// counted counts a reply while it is read.
type counted struct {
	io.ReadCloser
	meter *meter
	kind  string
	bytes int64
	begun bool
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	t := c.meter.kinds[c.kind]
	if t == nil {
		t = &traffic{}
		c.meter.kinds[c.kind] = t
	}
	if !c.begun {
		c.begun = true
		t.count++
	}
	c.bytes += int64(n)
	t.bytes += int64(n)
	t.biggest = max(t.biggest, c.bytes)
	return n, err
}

// take answers what was counted since the last time, and begins anew.
func (m *meter) take() map[string]traffic {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := map[string]traffic{}
	for kind, t := range m.kinds {
		taken[kind] = *t
	}
	m.kinds = map[string]*traffic{}
	return taken
}

// kindOf names a request: verb, resource, and of a list whether it is of one
// namespace, or of all.
func kindOf(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	skip := 2
	if parts[0] == "apis" {
		skip = 3
	}
	if len(parts) <= skip {
		return r.Method + " (discovery)"
	}
	parts = parts[skip:]
	scope := "all namespaces"
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts, scope = parts[2:], "one namespace"
	}
	name := parts[0]
	if len(parts) > 2 {
		name += "/" + parts[2]
	}
	query := r.URL.Query()
	switch {
	case query.Get("watch") != "":
		return "WATCH " + name + ", " + scope
	case r.Method == http.MethodGet && len(parts) == 1:
		if query.Get("limit") == "1" {
			scope += ", of one object"
		}
		return "LIST " + name + ", " + scope
	}
	return r.Method + " " + name
}

// usage is what a process has used.
type usage struct {
	resident, peak int64 // bytes
	cpu            time.Duration
}

func use(pid int) (usage, error) {
	var u usage
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("reading the operator's memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			u.resident = n * 1024
		case "VmHWM:":
			u.peak = n * 1024
		}
	}
	u.cpu, _, err = processorTime(pid)
	return u, err
}

// processorTime is what a process has used, and the number of its parent.
func processorTime(pid int) (used time.Duration, parent int, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the time of a process: %w", err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const above, user, system, tick = 1, 11, 12, 10 * time.Millisecond // USER_HZ is 100 on every Linux
	parent, _ = strconv.Atoi(fields[above])
	for _, field := range []int{user, system} {
		n, _ := strconv.ParseInt(fields[field], 10, 64)
		used += time.Duration(n) * tick
	}
	return used, parent, nil
}

// players is this program: nodes, owners and the proxy that counts.
const players = "nodes, owners and proxy"

// spending is the processor time of each program of the measurement so far.
func spending() (map[string]time.Duration, error) {
	self := os.Getpid()
	own, _, err := processorTime(self)
	if err != nil {
		return nil, err
	}
	spent := map[string]time.Duration{players: own}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("looking for the programs: %w", err)
	}
	for _, process := range processes {
		pid, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		// Those that end meanwhile are not ours.
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		used, parent, gone := processorTime(pid)
		if err == nil && gone == nil && parent == self {
			spent[filepath.Base(program)] += used
		}
	}
	return spent, nil
}

// inSeconds lists who has used how much.
func inSeconds(spent map[string]time.Duration) string {
	var each []string
	for _, who := range slices.Sorted(maps.Keys(spent)) {
		each = append(each, fmt.Sprintf("%s %.0f s", who, spent[who].Seconds()))
	}
	return strings.Join(each, ", ")
}
