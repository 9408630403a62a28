package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// setup is where and with what something is read.
type setup struct {
	files   map[string]string
	environ map[string]string
	args    []string
}

// read is Read, in a directory of its own.
func (s setup) read(t *testing.T) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range s.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := pflag.NewFlagSet("exec", pflag.ContinueOnError)
	ClusterFlags(flags)
	SessionFlags(flags)
	if err := flags.Parse(s.args); err != nil {
		t.Fatal(err)
	}
	l := &loading{flags: flags, dir: dir, environ: func(name string) (string, bool) { v, ok := s.environ[name]; return v, ok }}
	c, err := l.load()
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatal(err)
	}
	return c, append(problems, l.check(c)...).orNil()
}

func usual() *Config {
	c := defaults().Config
	return &c
}

func TestDefaults(t *testing.T) {
	got, err := setup{args: []string{"--copy-target"}}.read(t)
	if err != nil {
		t.Fatal(err)
	}
	want := usual()
	want.Takeover = TakeoverCopy
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPrecedence: a flag wins over a variable, understudy's own variable over
// the other tool's, a variable over the file, the file over the default.
func TestPrecedence(t *testing.T) {
	got, err := setup{
		files: map[string]string{".understudy/understudy.yaml": `
target: {path: deployment/from-file, namespace: from-file}
kube_context: from-file
kubeconfig: ~/file
takeover: scale-down
listen: [8080, "9090"]
lease: 30s
setup_timeout: 20
feature:
  hostname: false
  env: {override: {MiXed: "1", "a.b/C": x}, unset: A;B}
`},
		environ: map[string]string{
			"UNDERSTUDY_TARGET": "deployment/from-env", "MIRRORD_IMPERSONATED_TARGET": "deployment/from-old-env",
			"MIRRORD_TARGET_NAMESPACE": "from-old-env", "UNDERSTUDY_VERBOSE": "1", "HOME": "/home/ada", "UNDERSTUDY_NO_UDP_OUTGOING": "true",
		},
		args: []string{"-t", "deployment/from-flag", "--lease=40s"},
	}.read(t)
	if err != nil {
		t.Fatal(err)
	}
	want := usual()
	want.File = ".understudy/understudy.yaml"
	want.Target, want.Namespace, want.Context, want.Kubeconfig = "deployment/from-flag", "from-old-env", "from-file", "/home/ada/file"
	want.Takeover = TakeoverScaleDown
	want.Listen = Listen{Ports: []int32{8080, 9090}}
	want.Lease, want.SetupTimeout, want.Verbose, want.Hostname = 40*time.Second, 20*time.Second, true, false
	want.Env = Env{Override: map[string]string{"MiXed": "1", "a.b/C": "x"}, Unset: []string{"A", "B"}}
	want.Outgoing.UDP = false
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFlags(t *testing.T) {
	got, err := setup{
		environ: map[string]string{"UNDERSTUDY_LISTEN": "1,2", "UNDERSTUDY_COPY_TARGET": "yes"},
		args: []string{"--share-traffic", "--listen", "80", "--listen", "443,80", "--listen=all", "--lease=90s", "--agent-startup-timeout=300",
			"-n", "shop", "--context", "c", "--kubeconfig", "k", "-c", "-x", "A;B_*", "--no-outgoing", "--no-remote-dns", "--fs-mode", "local", "--steal",
			"-a", "agents", "--no-telemetry", "-e"},
	}.read(t)
	if err != nil {
		t.Fatal(err)
	}
	want := usual()
	want.Namespace, want.Context, want.Kubeconfig, want.AcceptInvalidCertificates = "shop", "c", "k", true
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
	if err != nil || !got.Alone() || got.AgentNamespace != "agents" || got.AgentImage != "registry.example/agent:1" || len(got.Notices) != 1 {
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

// TestKeepConnections: each way in which a frozen container's connections are
// kept.
func TestKeepConnections(t *testing.T) {
	freeze := []string{"--pause", "-t", "pod/w"}
	for name, tc := range map[string]setup{
		"the flag":     {args: append(slices.Clone(freeze), "--keep-connections")},
		"the variable": {args: freeze, environ: map[string]string{"UNDERSTUDY_KEEP_CONNECTIONS": "yes"}},
		"the file":     {args: freeze, files: map[string]string{".understudy/understudy.yaml": "release_connections: false"}},
	} {
		if got, err := tc.read(t); err != nil || got.ReleaseConnections {
			t.Errorf("%s: connections are released, error %v", name, err)
		}
	}
	if got, err := (setup{args: freeze}).read(t); err != nil || !got.ReleaseConnections {
		t.Errorf("where nothing is said they are kept, error %v", err)
	}
}

// TestFound: which file is taken when several are there.
func TestFound(t *testing.T) {
	files := map[string]string{
		"own.toml": `takeover = "copy"`, "other.json": `{"feature": {"copy_target": true}}`,
		".understudy/understudy.json": `{"takeover": "copy"}`, ".mirrord/mirrord.json": `{"feature": {"copy_target": true}}`,
	}
	both := map[string]string{"UNDERSTUDY_CONFIG_FILE": "own.toml", "MIRRORD_CONFIG_FILE": "other.json"}
	for name, tc := range map[string]struct {
		without string
		environ map[string]string
		args    []string
		want    string
	}{
		"the flag's":                  {"", both, []string{"-f", "other.json"}, "other.json"},
		"understudy's variable's":     {"", both, nil, "own.toml"},
		"the other tool's variable's": {"", map[string]string{"MIRRORD_CONFIG_FILE": "other.json"}, nil, "other.json"},
		"understudy's place":          {"", nil, nil, ".understudy/understudy.json"},
		"the other tool's place":      {".understudy/understudy.json", nil, nil, ".mirrord/mirrord.json"},
		"none":                        {"", both, []string{"-f", "none", "--copy-target"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			there := map[string]string{}
			for file, text := range files {
				if file != tc.without {
					there[file] = text
				}
			}
			got, err := setup{there, tc.environ, tc.args}.read(t)
			if err != nil || got.File != tc.want || got.Takeover != TakeoverCopy {
				t.Errorf("took %q, %s, %v; want %q", got.File, got.Takeover, err, tc.want)
			}
		})
	}
}

// TestForms: the ways in which the same may be written.
func TestForms(t *testing.T) {
	const json = ".mirrord/mirrord.json"
	read := func(t *testing.T, text string) *Config {
		t.Helper()
		c, err := setup{files: map[string]string{json: text}, args: []string{"--copy-target"}}.read(t)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		c.File, c.Takeover = "", TakeoverNone
		return c
	}
	for want, forms := range map[string][]string{
		`{"target": "deployment/a/container/b"}`: {
			`{"target": {"path": "deployment/a/container/b"}}`, `{"target": {"path": {"deployment": "a", "container": "b"}}}`,
			`{"target": {"deployment": "a", "container": "b"}}`, `{"target": {"path": "deployment/a", "container": "b"}}`,
			"// a comment\n{\"target\": \"deployment/a/container/b\",}", `{"target": {"deployment": "a", "container": "b", "pod": null}}`,
		},
		`{"feature": {"env": {"exclude": ["*"]}}}`:                {`{"feature": {"env": false}}`, `{"feature": {"env": {"exclude": "*"}}}`},
		`{"feature": {"env": {"include": ["A", "B*"]}}}`:          {`{"feature": {"env": {"include": "A;B*"}}}`, `{"feature": {"env": {"include": " A ; B*; "}}}`},
		`{"feature": {"fs": {"mode": "local"}}}`:                  {`{"feature": {"fs": "local"}}`, `{"feature": {"fs": false}}`},
		`{}`:                                                      {`{"feature": {"env": true, "fs": true, "network": true}}`, `{"feature": null}`, `{"feature": {"network": {"incoming": true, "dns": {}}}}`},
		`{"feature": {"network": {"incoming": {"mode": "off"}}}}`: {`{"feature": {"network": {"incoming": "off"}}}`, `{"feature": {"network": {"incoming": false}}}`},
		`{"feature": {"network": {"incoming": "off", "outgoing": {"tcp": false, "udp": false}, "dns": {"enabled": false}}}}`: {
			`{"feature": {"network": false}}`, `{"feature": {"network": {"incoming": "off", "outgoing": false, "dns": false}}}`},
		`{"setup_timeout": "5m"}`: {`{"agent": {"startup_timeout": 300}}`, `{"setup_timeout": 300}`},
	} {
		for _, form := range forms {
			if diff := cmp.Diff(read(t, want), read(t, form)); diff != "" {
				t.Errorf("%s and %s (-first +second):\n%s", want, form, diff)
			}
		}
	}
}

// TestAsWritten: a variable has the characters of the file, in each format,
// and has them still when the configuration is shown and read.
func TestAsWritten(t *testing.T) {
	written := map[string][]string{
		"json": {"1.10", "12345678901234567890", "123456789012345678901234567890", "1000000.0", "1e3", "-0", "true"},
		"yaml": {"1.10", "12345678901234567890", "123456789012345678901234567890", "1000000.0", "1e3", "01234", "0755", "0o17", "0x1F", "1_000", "True", "2026-01-02"},
		"toml": {"1.10", "1000000.0", "1e3", "0x1F", "0o17", "1_000", "+1", "true", "2026-01-02", "1979-05-27T07:32:00Z"},
	}
	for format, values := range written {
		for _, value := range values {
			text := map[string]string{
				"json": `{"feature": {"env": {"override": {"A": ` + value + `}}}}`,
				"yaml": "feature:\n  env:\n    override:\n      A: " + value + "\n",
				"toml": "[feature.env.override]\nA = " + value + "\n",
			}[format]
			first, err := setup{files: map[string]string{".understudy/understudy." + format: text}}.read(t)
			if got := first.Env.Override["A"]; err != nil || got != value {
				t.Errorf("%s: %s is %q, %v", format, value, got, err)
			}
			shown, err := first.Show(false)
			if err != nil {
				t.Fatal(err)
			}
			second, err := setup{files: map[string]string{".understudy/understudy.yaml": string(shown)}}.read(t)
			if got := second.Env.Override["A"]; err != nil || got != value {
				t.Errorf("%s: %s is %q after it was shown, %v", format, value, got, err)
			}
		}
	}
	_, err := setup{files: map[string]string{".understudy/understudy.yaml": "lease: !!int many"}}.read(t)
	if want := `.understudy/understudy.yaml:1: this is no YAML: "many" is not what its tag !!int says`; errorText(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestTakeover(t *testing.T) {
	const file = ".understudy/understudy.yaml"
	for name, tc := range map[string]struct {
		file   string
		args   []string
		want   Takeover
		paused bool
		wrong  string
	}{
		"nothing":                                  {"", nil, TakeoverNone, false, ""},
		"a target alone":                           {"target: deployment/w", nil, TakeoverNone, false, ""},
		"no target, said so":                       {"target: targetless", nil, TakeoverNone, false, ""},
		"a copy":                                   {"feature: {copy_target: true}", nil, TakeoverCopy, false, ""},
		"an object is a copy":                      {"feature: {copy_target: {exclude_containers: [x]}}", nil, TakeoverCopy, false, ""},
		"an object that is off":                    {"feature: {copy_target: {enabled: false, scale_down: true}}", nil, TakeoverNone, false, "feature.copy_target.scale_down needs a stand-in"},
		"scaled down":                              {"feature: {copy_target: {scale_down: true}}", nil, TakeoverScaleDown, false, ""},
		"scaled down by a flag":                    {"feature: {copy_target: true}", []string{"--scale-down"}, TakeoverScaleDown, false, ""},
		"scale down alone":                         {"", []string{"--scale-down"}, TakeoverNone, false, "--scale-down needs a stand-in that runs instead of the target"},
		"said outright":                            {"takeover: scale-down", nil, TakeoverScaleDown, false, ""},
		"said twice":                               {"{takeover: scale-down, feature: {copy_target: {exclude_containers: [x]}}}", nil, TakeoverScaleDown, false, ""},
		"pause":                                    {"{pause: true, target: deployment/w}", nil, TakeoverFreeze, true, ""},
		"the oldest pause":                         {"{agent: {pause: true}, target: deployment/w}", nil, TakeoverFreeze, true, ""},
		"pause, by a flag a copy":                  {"pause: true", []string{"--copy-target"}, TakeoverCopy, false, ""},
		"a copy, by a flag pause":                  {"{feature: {copy_target: true}, target: deployment/w}", []string{"--pause"}, TakeoverFreeze, true, ""},
		"pause and a copy, by flags":               {"", []string{"-t", "deployment/w", "--pause", "--copy-target"}, TakeoverScaleDown, false, "--pause and --copy-target exclude each other"},
		"pause and a copy, in the file":            {"{pause: true, feature: {copy_target: true}}", nil, TakeoverCopy, false, "pause and feature.copy_target exclude each other"},
		"freeze and a copy":                        {"{takeover: freeze, feature: {copy_target: true}}", nil, TakeoverFreeze, false, "feature.copy_target and takeover exclude each other"},
		"freeze, outright":                         {"{takeover: freeze, target: deployment/w}", nil, TakeoverFreeze, false, ""},
		"scaled down by a flag, outright a copy":   {"takeover: copy", []string{"--scale-down"}, TakeoverScaleDown, false, ""},
		"not scaled down by a flag":                {"takeover: scale-down", []string{"--scale-down=false"}, TakeoverCopy, false, ""},
		"not scaled down in the file, by a flag":   {"feature: {copy_target: {scale_down: false}}", []string{"--scale-down"}, TakeoverScaleDown, false, ""},
		"paused, and scaled down by a flag":        {"{pause: true, target: deployment/w}", []string{"--scale-down"}, TakeoverFreeze, true, "--scale-down and pause exclude each other"},
		"paused and scaled down, by flags":         {"", []string{"-t", "deployment/w", "--pause", "--scale-down"}, TakeoverFreeze, true, "--scale-down and --pause exclude each other"},
		"frozen and scaled down":                   {"{takeover: freeze, target: deployment/w, feature: {copy_target: {enabled: false, scale_down: true}}}", nil, TakeoverFreeze, false, "feature.copy_target.scale_down and takeover exclude each other"},
		"a copy and scaled down":                   {"{takeover: copy, feature: {copy_target: {scale_down: true}}}", nil, TakeoverCopy, false, "feature.copy_target.scale_down and takeover exclude each other"},
		"scaled down and not":                      {"{takeover: scale-down, feature: {copy_target: {scale_down: false}}}", nil, TakeoverScaleDown, false, "feature.copy_target.scale_down and takeover exclude each other"},
		"scaled down, said twice":                  {"{takeover: scale-down, feature: {copy_target: {scale_down: true}}}", nil, TakeoverScaleDown, false, ""},
		"scaled down in the file, a flag pauses":   {"{feature: {copy_target: {scale_down: true}}, target: deployment/w}", []string{"--pause"}, TakeoverFreeze, true, ""},
		"paused in the file, a flag scales a copy": {"pause: true", []string{"--copy-target", "--scale-down"}, TakeoverScaleDown, false, ""},
		"another word":                             {"takeover: nap", nil, TakeoverNone, false, `takeover is "nap", where one of copy, scale-down, freeze, none is expected`},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			if tc.file != "" {
				files[file] = tc.file
			}
			c, err := setup{files: files, args: tc.args}.read(t)
			if said := errorText(err); (said == "") != (tc.wrong == "") || !strings.Contains(said, tc.wrong) {
				t.Errorf("got error %q", said)
			}
			if tc.want != c.Takeover && !strings.Contains(tc.wrong, "--pause and") || tc.paused != c.Paused {
				t.Errorf("got %s, paused %t", c.Takeover, c.Paused)
			}
		})
	}
}

// TestProblems: what is wrong, all at once, each with its line.
func TestProblems(t *testing.T) {
	_, err := setup{
		files: map[string]string{".understudy/understudy.yaml": `# line 1
targets: deployment/x
takeover: copy
lease: soon
target:
  path: {deployment: x, namespace: y}
feature:
  env: {include: [A], exclude: [B], mapping: {"(": x}}
  fs: {mode: reed, read_write: .*}
  hostname: "true"
  network:
    incoming: {ports: [80, 99999]}
    outgoing: {filter: {local: ["tcp:/x"], remote: [":80"]}}
{% if true %}    dns: 3
{% endif %}  split_queues: {a: {}}
multi_cluster: false
`},
		environ: map[string]string{"MIRRORD_PROXY": "false", "UNDERSTUDY_COPY_TARGET": "maybe"},
		args:    []string{"--listen", "http", "--share-traffic"},
	}.read(t)
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Error()+" | "+p.Advice)
	}
	const f = ".understudy/understudy.yaml:"
	want := []string{
		"MIRRORD_PROXY: use_proxy is not taken: a proxy of the environment cannot be switched off by the file | run understudy under `env -u HTTP_PROXY -u HTTPS_PROXY`",
		f + "2: there is no key targets | did you mean target?",
		f + "6: there is no key target.path.namespace | did you mean target.namespace?",
		f + "14: feature.network.dns is 3, where an object or a boolean is expected | ",
		f + "15: feature.split_queues is not taken: a queue's messages cannot be divided yet: the local process takes all or none | take the section out and say feature.copy_target.scale_down: true, so that every message comes to you",
		`--listen: listen is "http", where ports from 1 to 65535, or all is expected | `,
		f + `4: lease is "soon", where a time, as in 60s or 5m, or a number of seconds is expected | `,
		f + `9: feature.fs.mode is "reed", where one of read, write, local, localwithoverrides is expected | did you mean read?`,
		f + "12: feature.network.incoming.ports[1] is 99999, where a port from 1 to 65535 is expected | ",
		f + `10: feature.hostname is "true", where true or false is expected | `,
		`UNDERSTUDY_COPY_TARGET: feature.copy_target.enabled is "maybe", where true or false is expected | `,
		f + "8: feature.env.include and feature.env.exclude exclude each other | name what is taken, or what is left out",
		f + `8: feature.env.mapping: "(" is no regular expression: missing closing ): ` + "`(` | ",
		f + "13: feature.network.outgoing.filter.local and remote exclude each other | name what is reached from this machine, or what from the pod",
		f + `13: feature.network.outgoing.filter: "tcp:/x" is no destination | write [tcp://|udp://]host, address or CIDR[:port], or :port`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := err.Error(); !strings.HasPrefix(text, "15 things are wrong with what was asked for\n- MIRRORD_PROXY: ") {
		t.Error(text)
	}
}

// TestEmpty: a section of what is not taken, or has no meaning here, asks for
// nothing where it is empty.
func TestEmpty(t *testing.T) {
	const text = `{"target": "deployment/w", "takeover": "scale-down", "internal_proxy": {}, "feature": {"db_branches": [], "split_queues": {},
		"network": {"incoming": {"http_filter": {}}, "outgoing": {"unix_streams": []}}}}`
	c, err := setup{files: map[string]string{".understudy/understudy.json": text}}.read(t)
	if err != nil || len(c.Notices) > 0 {
		t.Errorf("notices %q, %v", c.Notices, err)
	}
	for _, text := range []string{`{"db_branches": [{}]}`, `{"split_queues": {"a": {}}}`, `{"network": {"incoming": {"http_filter": "x"}}}`} {
		if _, err := (setup{files: map[string]string{".understudy/understudy.json": `{"target": "deployment/w", "feature": ` + text + `}`}}).read(t); !strings.Contains(errorText(err), "is not taken") {
			t.Errorf("%s: %v", text, err)
		}
	}
	// Of what is taken an empty section may mean much.
	if c, err := (setup{files: map[string]string{".understudy/understudy.json": `{"target": "deployment/w", "feature": {"copy_target": {}}}`}}).read(t); err != nil || c.Takeover != TakeoverCopy {
		t.Errorf("an empty copy_target is %s, %v", c.Takeover, err)
	}
}

// TestSaidTwice: of two places for one key that differ none is dropped.
func TestSaidTwice(t *testing.T) {
	const file = ".understudy/understudy.yaml"
	for text, want := range map[string]string{
		"pause: 'yes'\nagent: {pause: true}\n":                             file + `:2: agent.pause is true, and ` + file + `:1 says with pause that it is "yes"`,
		"pause: false\nagent: {pause: true}\n":                             file + `:2: agent.pause is true, and ` + file + `:1 says with pause that it is false`,
		"agent: {startup_timeout: 30}\nsetup_timeout: 20":                  file + `:2: setup_timeout is 20, and ` + file + `:1 says with agent.startup_timeout that it is 30`,
		"target:\n  path: deployment/a\n  deployment: b\n":                 file + ":3: the target is deployment/b, and " + file + ":2 says that it is deployment/a",
		"target:\n  path: {pod: a}\n  deployment: a\n":                     file + ":3: the target is deployment/a, and " + file + ":2 says that it is pod/a",
		"target:\n  path: deployment/a/container/c\n  container: d\n":      file + ":3: the target's container is d, and " + file + ":2 says that it is c",
		"target:\n  path: {deployment: a, container: c}\n  container: d\n": file + ":3: the target's container is d, and " + file + ":2 says that it is c",
		"target: deployment/a\npause: true\nagent: {pause: true}\n":        "",
		"target:\n  path: deployment/a\n  deployment: a\n  container: c":   "",
		"target:\n  path: deployment/a/container/c\n  container: c":        "",
		"feature: {copy_target: {enabled: false}}":                         "",
	} {
		_, err := setup{files: map[string]string{file: text}}.read(t)
		if said := errorText(err); (want == "") != (said == "") || !strings.Contains(said, want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestRules: what does not go together.
func TestRules(t *testing.T) {
	const copies = "takeover: copy\n"
	for text, want := range map[string]string{
		"pause: true":                                         "there is nothing to pause without a target",
		copies + "operator: false\n":                          "a stand-in is made by the operator, and operator: false forbids it",
		copies + "target: targetless\n":                       "a stand-in is a copy of a target, and targetless has none",
		copies + "target: service/x\n":                        "a Service runs no pods that could be copied, held or attached to",
		"target: service/x\n":                                 "a Service runs no pods that could be copied, held or attached to",
		copies + "target: {labels: {a: b}}\n":                 "target.labels is not taken",
		copies + "feature: {env: {include: a, exclude: b}}\n": "feature.env.include and feature.env.exclude exclude each other",
		copies + "feature: {network: {incoming: {ports: [1], ignore_ports: [2]}}}":             "ports and ignore_ports exclude each other",
		copies + "feature: {network: {incoming: {port_mapping: [[1, 2], [1, 3]]}}}":            "port_mapping has 1 twice in the first place",
		copies + "feature: {network: {incoming: {port_mapping: [[1, 2]], ignore_ports: [2]}}}": "port 2 is in port_mapping and in ignore_ports",
		copies + "feature: {network: {incoming: {listen_ports: [[1, 2], [3, 2]]}}}":            "listen_ports has 2 twice in the second place",
		copies + "feature: {network: {incoming: mirror}}":                                      "feature.network.incoming.mode mirror does not work yet",
		copies + "feature: {network: {dns: {filter: {local: a, remote: b}}}}":                  "feature.network.dns.filter.local and remote exclude each other",
		copies + "feature: {network: {dns: {filter: {local: 'a b'}}}}":                         `"a b" is no name`,
		copies + "feature: {fs: {read_write: '('}}":                                            `feature.fs.read_write: "(" is no regular expression`,
		copies + "lease: 4s":                                                       "a lease of 4s is not possible",
		copies + "lease: 5500ms":                                                   "a lease of 5.5s is not possible",
		copies + "setup_timeout: 2h":                                               "a setup timeout of 2h0m0s is not possible",
		"takeover: scale-down\nrelease_connections: false":                         "connections are kept open only where something is frozen",
		"takeover: scale-down\nshare_traffic: true":                                "--share-traffic is for a copy beside the target",
		copies + "feature: {network: {incoming: {on_concurrent_steal: override}}}": "on_concurrent_steal is not taken",
		copies + "feature: {fs: {local: '(?=x)'}}":                                 "is no regular expression",
	} {
		_, err := setup{files: map[string]string{".understudy/understudy.yaml": text}}.read(t)
		if !strings.Contains(errorText(err), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"{pause: true, target: deployment/w, feature: {network: {incoming: off}}}":        "requests to it go unanswered, but for the kubelet's network probes",
		"{pause: true, target: deployment/w}":                                             "pause is deprecated",
		"{takeover: freeze, target: pod/w, release_connections: false}":                   "the frozen container's connections stay open",
		copies + "feature: {network: {dns: {enabled: false, filter: {local: a}}}}":        "has no effect",
		copies + "feature: {network: {dns: false, outgoing: {filter: {remote: [a:80]}}}}": "names are looked up on this machine",
		copies + "agent: {ttl: 3, log_level: info}":                                       "agent.ttl has no meaning here: the stand-in ends with its session, or with the lease",
	} {
		c, _ := setup{files: map[string]string{".understudy/understudy.yaml": text}}.read(t)
		if !strings.Contains(strings.Join(c.Notices, "\n"), want) {
			t.Errorf("%s:\n got %q\nwant %s", text, c.Notices, want)
		}
	}
}

// TestShow: what is shown says the same when it is read.
func TestShow(t *testing.T) {
	for _, text := range []string{
		"takeover: copy",
		"{target: deployment/a, takeover: scale-down, listen: [all, 80], lease: 90s, feature: {env: {override: {A: 'true', b: '2'}, include: [X]}, fs: local, network: {incoming: {port_mapping: [[1, 2]], ports: [2]}, outgoing: {udp: false}}, hostname: false}}",
	} {
		first, err := setup{files: map[string]string{".understudy/understudy.yaml": text}}.read(t)
		if err != nil {
			t.Fatal(err)
		}
		for _, everything := range []bool{true, false} {
			shown, err := first.Show(everything)
			if err != nil {
				t.Fatal(err)
			}
			second, err := setup{files: map[string]string{".understudy/understudy.yaml": string(shown)}}.read(t)
			if err != nil {
				t.Fatalf("%v\n%s", err, shown)
			}
			if diff := cmp.Diff(first, second); diff != "" {
				t.Errorf("%s\n(-first +second):\n%s", shown, diff)
			}
		}
	}
}

// TestKey: what {{ key }} stands for.
func TestKey(t *testing.T) {
	target := func(s setup) string {
		t.Helper()
		c, err := s.read(t)
		if err != nil {
			t.Fatal(err)
		}
		return c.Target
	}
	const says = `{"key": "{{ get_env(name="WHO", default="nobody") }}", "target": "deployment/{{ key }}", "takeover": "copy"}`
	const silent = `{"target": "deployment/{{ key }}", "takeover": "copy"}`
	for name, tc := range map[string]struct {
		setup setup
		want  string
	}{
		"the file's":       {setup{map[string]string{".understudy/understudy.json": says}, map[string]string{"WHO": "ada"}, nil}, "deployment/ada"},
		"the variable's":   {setup{map[string]string{".understudy/understudy.json": says}, map[string]string{"MIRRORD_KEY": "bob"}, nil}, "deployment/bob"},
		"the flag's":       {setup{map[string]string{".understudy/understudy.json": says}, map[string]string{"MIRRORD_KEY": "bob"}, []string{"--key", "eve"}}, "deployment/eve"},
		"the silent one's": {setup{map[string]string{".understudy/understudy.json": silent}, nil, []string{"--key", "eve"}}, "deployment/eve"},
	} {
		if got := target(tc.setup); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	if got := target(setup{files: map[string]string{".understudy/understudy.json": silent}}); len(got) != len("deployment/")+8 {
		t.Errorf("made up: %s", got)
	}
}

// TestBroken: what is wrong with a file as a whole, in the file's own lines.
func TestBroken(t *testing.T) {
	for text, want := range map[string]string{
		"{% if key == 'x' %}\n\"lease\": 30,\n{% endif %}\n{\n \"lease\": 30\n \"takeover\": 1}": ".understudy/understudy.json:6: this is no JSON: ",
		"\n{{ nope }}": ".understudy/understudy.json:2: in {{ nope }}: there is no variable",
		"[]":           ".understudy/understudy.json:1: a configuration is an object, and this is a list",
	} {
		_, err := setup{files: map[string]string{".understudy/understudy.json": text}, args: []string{"--copy-target"}}.read(t)
		if !strings.HasPrefix(errorText(err), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestUnread: nothing is said of what a file that cannot be read may hold.
func TestUnread(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "broken.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"broken.json", "nonesuch.json"} {
		flags := pflag.NewFlagSet("exec", pflag.ContinueOnError)
		SessionFlags(flags)
		if err := flags.Parse([]string{"-f", file}); err != nil {
			t.Fatal(err)
		}
		l := &loading{flags: flags, dir: dir, environ: func(string) (string, bool) { return "", false }}
		if c, err := l.read(); err == nil || len(c.Notices) > 0 {
			t.Errorf("%s: %v, notices %q", file, err, c.Notices)
		}
	}
}
