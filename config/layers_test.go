package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// TestPrecedence: a flag wins over a variable, understudy's own variable over
// the other tool's, a variable over the file, the file over the default.
func TestPrecedence(t *testing.T) {
	got, err := setup{
		files: map[string]string{".understudy/understudy.yaml": `
target: {path: deployment/from-file, namespace: from-file}
kube_context: from-file
kubeconfig: file
takeover: scale-down
listen: [8080, "9090"]
lease: 30s
setup_timeout: 20
feature:
  hostname: false
  env: {override: {MiXed: "1", "a.b/C": x}, unset: A;B}
`, "file": ""},
		environ: map[string]string{
			"UNDERSTUDY_TARGET": "deployment/from-env", "MIRRORD_IMPERSONATED_TARGET": "deployment/from-old-env",
			"MIRRORD_TARGET_NAMESPACE": "from-old-env", "UNDERSTUDY_VERBOSE": "1", "UNDERSTUDY_NO_UDP_OUTGOING": "true",
		},
		args: []string{"-t", "deployment/from-flag", "--lease=40s"},
	}.read(t)
	if err != nil {
		t.Fatal(err)
	}
	want := usual()
	want.File = ".understudy/understudy.yaml"
	want.Target, want.Namespace, want.Context, want.Kubeconfig = "deployment/from-flag", "from-old-env", "from-file", "file"
	want.Takeover = TakeoverScaleDown
	want.Listen = Listen{Ports: []int32{8080, 9090}}
	want.Lease, want.SetupTimeout, want.Verbose, want.Hostname = 40*time.Second, 20*time.Second, true, false
	want.Env = Env{Override: map[string]string{"MiXed": "1", "a.b/C": "x"}, Unset: []string{"A", "B"}}
	want.Outgoing.UDP = false
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSpellings: lists are joined with ";" as all are, and a time may be a number of
// seconds, wherever it is said.
func TestSpellings(t *testing.T) {
	for name, s := range map[string]setup{
		"flags":     {nil, nil, []string{"--listen", "80;81", "--listen", " 82 ", "--lease", "30", "--setup-timeout=90"}},
		"variables": {nil, map[string]string{"UNDERSTUDY_LISTEN": "80; 81;82;", "UNDERSTUDY_LEASE": "30", "UNDERSTUDY_SETUP_TIMEOUT": "90"}, nil},
		"a file":    {map[string]string{".understudy/understudy.yaml": "listen: 80;81,82\nlease: 30\nsetup_timeout: '90'\n"}, nil, nil},
	} {
		c, err := s.read(t)
		if err != nil || !slices.Equal(c.Listen.Ports, []int32{80, 81, 82}) || c.Lease != 30*time.Second || c.SetupTimeout != 90*time.Second {
			t.Errorf("%s: %v, lease %s, setup %s, %v", name, c.Listen, c.Lease, c.SetupTimeout, err)
		}
	}
	flags := pflag.NewFlagSet("exec", pflag.ContinueOnError)
	SessionFlags(flags)
	if err := flags.Parse([]string{"--lease", "soon"}); !strings.Contains(errorText(err), "a time, as in 60s or 5m, or a number of seconds") {
		t.Error(err)
	}
	if usage := flags.Lookup("lease"); usage.DefValue != "1m0s" || usage.Value.Type() != "duration" {
		t.Errorf("default %s of type %s", usage.DefValue, usage.Value.Type())
	}
}

func TestFlags(t *testing.T) {
	got, err := setup{
		files:   map[string]string{"k": ""},
		environ: map[string]string{"UNDERSTUDY_LISTEN": "1,2", "UNDERSTUDY_COPY_TARGET": "yes"},
		args: []string{"-t", "pod/w", "--share-traffic", "--listen", "80", "--listen", "443,80", "--listen=all", "--lease=90s", "--agent-startup-timeout=300",
			"-n", "shop", "--context", "c", "--kubeconfig", "k", "-c", "-x", "A;B_*", "--no-outgoing", "--no-remote-dns", "--fs-mode", "local", "--steal",
			"-a", "agents", "--no-telemetry", "-e"},
	}.read(t)
	if err != nil {
		t.Fatal(err)
	}
	want := usual()
	want.Target, want.Namespace, want.Context, want.Kubeconfig, want.AcceptInvalidCertificates = "pod/w", "shop", "c", "k", true
	want.Takeover, want.ShareTraffic = TakeoverCopy, true
	want.Listen = Listen{All: true, Ports: []int32{80, 443}}
	want.Lease, want.SetupTimeout = 90*time.Second, 5*time.Minute
	want.Env.Exclude = []string{"A", "B_*"}
	want.Outgoing.TCP, want.Outgoing.UDP, want.Names.Enabled = false, false, false
	want.Files.Mode = FilesLocal
	want.Notices = []string{
		"--ephemeral-container has no meaning here: the agent runs in a stand-in or in a pod on the node, never in an ephemeral container",
		"--no-telemetry has no meaning here: nothing is ever sent to anybody",
		"agent.namespace has no effect: it is for the agent of a freeze that no operator makes",
	}
	want.AgentNamespace = "agents"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, err = setup{args: []string{"-t", "pod/w", "--pause", "--no-operator", "-a", "agents", "-i", "registry.example/agent:1"}}.read(t)
	if err != nil || !got.Alone() || got.AgentNamespace != "agents" || got.AgentImage != "registry.example/agent:1" || len(got.Notices) != 0 {
		t.Errorf("with one's own rights: %+v, %v", got, err)
	}
	got, _ = setup{environ: map[string]string{"UNDERSTUDY_LISTEN": "1,2"}}.read(t)
	if !cmp.Equal(got.Listen, Listen{Ports: []int32{1, 2}}) {
		t.Errorf("from the environment: %+v", got.Listen)
	}
}

// TestSwitchedOff: a switch that is given as false wins over what is said below
// it, as any other flag does.
func TestSwitchedOff(t *testing.T) {
	const file = ".understudy/understudy.yaml"
	off := map[string]string{file: "{operator: false, release_connections: false, feature: {network: {outgoing: false, dns: false}}}"}
	freeze := []string{"--pause", "-t", "pod/w"}
	with := func(args ...string) []string { return append(slices.Clone(freeze), args...) }
	for name, tc := range map[string]struct {
		setup
		tcp, udp, names, alone, keeps bool
	}{
		"the file alone":                {setup{off, nil, freeze}, false, false, false, true, true},
		"flags over the file":           {setup{off, nil, with("--no-outgoing=false", "--no-remote-dns=false", "--no-operator=false", "--keep-connections=false")}, true, true, true, false, false},
		"variables over the file":       {setup{off, map[string]string{"UNDERSTUDY_NO_OUTGOING": "false", "UNDERSTUDY_NO_OPERATOR": "0"}, freeze}, true, true, false, false, true},
		"a flag over a variable":        {setup{nil, map[string]string{"UNDERSTUDY_NO_OUTGOING": "true"}, with("--no-outgoing=false")}, true, true, true, false, false},
		"a variable over the other's":   {setup{nil, map[string]string{"MIRRORD_TCP_OUTGOING": "false", "UNDERSTUDY_NO_TCP_OUTGOING": "false"}, freeze}, true, true, true, false, false},
		"the narrower flag":             {setup{nil, nil, with("--no-outgoing=false", "--no-tcp-outgoing")}, false, true, true, false, false},
		"the narrower flag, off":        {setup{nil, nil, with("--no-outgoing", "--no-tcp-outgoing=false")}, true, false, true, false, false},
		"the narrower variable":         {setup{nil, map[string]string{"UNDERSTUDY_NO_OUTGOING": "true", "UNDERSTUDY_NO_UDP_OUTGOING": "false"}, freeze}, false, true, true, false, false},
		"a mode is said with true only": {setup{nil, nil, with("--steal=false")}, true, true, true, false, false},
	} {
		c, err := tc.read(t)
		if err != nil || c.Outgoing.TCP != tc.tcp || c.Outgoing.UDP != tc.udp || c.Names.Enabled != tc.names || c.Alone() != tc.alone || c.ReleaseConnections == tc.keeps || c.Incoming.Mode != IncomingSteal {
			t.Errorf("%s: %+v %+v alone %t, releases %t, %s, %v", name, c.Outgoing, c.Names, c.Alone(), c.ReleaseConnections, c.Incoming.Mode, err)
		}
	}
}
