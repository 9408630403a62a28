package migrate

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/config/source"
)

// freezeOr is what a person must decide who paused.
const freezeOr = "pause is deprecated: write takeover: freeze instead where the target has one pod, or takeover: scale-down where it has several"

func TestFile(t *testing.T) {
	for name, tc := range map[string]struct {
		file, in, out string
		changes       []string
		left          []string
	}{
		"what asks for nothing is not spoken of": {"a.json", `{"target": "deployment/w", "feature": {"db_branches": []}}
`, `{"target": "deployment/w", "feature": {"db_branches": []}}
`, nil, nil},
		"what is refused, or there is not, below what goes": {"a.yaml", "telemetry: 3\nexperimental:\n  latency: {receive_delay: 1}\n  dlopen_cgo: true\n  sip_utls: true\nagent:\n  ttl: '30'\n", "experimental:\n  latency: {receive_delay: 1}\n  sip_utls: true\n",
			[]string{"telemetry is gone", "experimental.dlopen_cgo is gone: nothing is injected", "agent.ttl is gone"}, []string{"experimental.latency is not taken", "there is no key experimental.sip_utls; did you mean experimental.sip_utils?"}},
		"JSON keeps comments, order and templates": {"a.json", `{
  // who
  "target": {
    "path": {"deployment": "{{ get_env(name='WHO', default='w') }}", "container": "c"},
    "namespace": "shop" // where
  },
  "agent": {
    "log_level": "info",
    "startup_timeout": 300
  },
  // what
  "pause": true,
  "telemetry": false,
  "feature": {
    "env": {"include": "A;B_*"}, // mine
    "magic": {"aws": false}
  }
}
`, `{
  // who
  // where
  "target": {"path": "deployment/{{ get_env(name='WHO', default='w') }}/container/c", "namespace": "shop"},
  // what
  "pause": true,
  "feature": {
    "env": {"include": ["A", "B_*"]} // mine
  },
  "setup_timeout": "300s"
}
`, []string{"agent.log_level is gone", "agent.startup_timeout is setup_timeout now", "telemetry is gone", "feature.env.include is a list now", "feature.magic is gone", "target is written as a path"}, []string{freezeOr}},
		"JSON, comments of what goes": {"a.json", `{ // the team's

  // what the agent says
  "telemetry": false, // off
  "key": "k", // of the session
  // loud
  "agent": {
    // why
    "log_level": "info" // level
  }, // agent
  "target": "deploy/a" /* the one */ // really
  // the end
}
`, `{ // the team's
  "key": "k", // of the session
  "target": "deployment/a" /* the one */ // really
  // the end
}
`, []string{"telemetry is gone", "agent.log_level is gone", "target is spelt out", "comments are gone with what they were about: // what the agent says, // off, // loud, // why, // level, // agent"}, nil},
		"JSON, what comes to the end": {"a.json", `{
  "agent": {"namespace": "n", // where
    "startup_timeout": 3 // long
  },
  "target": {
    "path": { // by kind
      "deployment": "a", /* b */
    }
  } // target
}
`, `{
  "agent": {"namespace": "n" // where
  },
  // by kind
  /* b */
  "target": "deployment/a", // target
  "setup_timeout": "3s"
}
`, []string{"agent.startup_timeout is setup_timeout now", "target is written as a path", "comments are gone with what they were about: // long"}, []string{"a setup timeout of 3s is not possible: choose between 5s and 1h0m0s"}},
		"JSON, all goes": {"a.json", "{ // the team's\n  \"telemetry\": false }", "{ // the team's\n }", []string{"telemetry is gone"}, nil},
		"JSON, the last goes": {"a.json", `{
  "key": "k", // of the session
  "telemetry": false, // off
}
`, `{
  "key": "k", // of the session
}
`, []string{"telemetry is gone", "comments are gone with what they were about: // off"}, nil},
		"YAML keeps comments": {"a.yaml", `# the team's file
target: deploy/worker # the one
agent:
  namespace: agents
  ttl: 3
pause: false
feature:
  # no secrets
  env:
    exclude: SECRET;TOKEN
`, `# the team's file
target: deployment/worker # the one
agent:
  namespace: agents
feature:
  # no secrets
  env:
    exclude:
      - SECRET
      - TOKEN
`, []string{"agent.ttl is gone", "pause is gone", "feature.env.exclude is a list now", "target is spelt out"}, nil},
		"YAML, comments of what goes and changes": {"a.yaml", `# the team's file

# off
telemetry: false # really
# mine
target: # the one
  # by kind
  path:
    deployment: a # its name
  namespace: shop # where
# whose
key: k # of the session
feature:
  env:
    include: A;B # both
agent:
  log_level: info # loud

# the end
`, `# the team's file

# mine
# the one
# by kind
# its name
target:
  path: deployment/a
  namespace: shop # where
# whose
key: k # of the session
feature:
  env:
    # both
    include:
      - A
      - B

# the end
`, []string{"telemetry is gone", "feature.env.include is a list now", "agent.log_level is gone", "target is written as a path", "comments are gone with what they were about: # off, # really, # loud"}, nil},
		"TOML": {"a.toml", "# who\n\n# kept\npause = true # mine\n\n# lost\n[agent]\nttl = 3\n", "# who\n\n# kept\npause = true # mine\n", []string{"agent.ttl is gone", "comments are gone with what they were about: # lost"}, []string{freezeOr, "there is nothing to pause without a target"}},
		"TOML, tables and lists": {"a.toml", "# top\nkey = 'k'\nlease = \"\"\"30s\"\"\" # '\n\n[target] # whom\nnamespace = 'shop'\n[target.path]\ndeployment = 'a'\n\n# env\n[feature.env]\ninclude = 'A;B' # both\n\n[agent]\nstartup_timeout = 90\n",
			"# top\nkey = 'k'\nlease = \"\"\"30s\"\"\" # '\nsetup_timeout = \"90s\"\n\n[target] # whom\nnamespace = 'shop'\npath = \"deployment/a\"\n\n# env\n[feature.env]\ninclude = [\"A\", \"B\"] # both\n",
			[]string{"feature.env.include is a list now", "agent.startup_timeout is setup_timeout now", "target is written as a path"}, nil},
		"TOML, a table of the target's": {"a.toml", "lease = '30s'\n\n# whom\n[target]\n# where\nnamespace = 'shop' # ours\n\n# what\n[target.path] # by kind\ndeployment = \"worker\" # its name\n\n[feature.env]\nexclude = ['A']\n",
			"lease = '30s'\n\n# whom\n[target]\n# where\nnamespace = 'shop' # ours\n# what\n# by kind\n# its name\npath = \"deployment/worker\"\n\n[feature.env]\nexclude = ['A']\n",
			[]string{"target is written as a path: deployment/worker"}, nil},
		"TOML, kinds in the target's table": {"a.toml", "# whom\n[target]\ndeployment = 'w' # it\ncontainer = 'c'\nnamespace = 'shop'\n[feature]\nhostname = false\n",
			"# whom\n[target]\nnamespace = 'shop'\n# it\npath = \"deployment/w/container/c\"\n[feature]\nhostname = false\n",
			[]string{"target is written as a path: deployment/w/container/c"}, nil},
		"TOML, a table that becomes a key": {"a.toml", "# ours\n[target] # whom\ndeployment = 'w'\n\n[feature]\nhostname = false\n",
			"# ours\n\n# whom\ntarget = \"deployment/w\"\n[feature]\nhostname = false\n",
			[]string{"target is written as a path: deployment/w"}, nil},
		"TOML, a comment of the template": {"a.toml", "{# who #}\ntelemetry = false\ntarget = \"pod/x\"\n", "{# who #}\ntarget = \"pod/x\"\n", []string{"telemetry is gone"}, nil},
		"TOML, templates":                 {"a.toml", "telemetry = false\ntarget = \"pod/{{ key }}\"\nkey = \"{{ get_env(name='SURELY_NOT_SET', default='b') }}\"\n", "target = \"pod/{{ key }}\"\nkey = \"{{ get_env(name='SURELY_NOT_SET', default='b') }}\"\n", []string{"telemetry is gone"}, nil},
		"TOML, inline and dotted": {"a.toml", "agent = { ttl = 3, namespace = 'x', log_level = \"in,}fo\" }\nfeature.magic.aws = false\ntarget = 'deploy/a' # it\ntelemetry = false\nfeature.hostname = false\n",
			"agent = { namespace = 'x' }\ntarget = \"deployment/a\" # it\nfeature.hostname = false\n",
			[]string{"agent.log_level is gone", "agent.ttl is gone", "feature.magic is gone", "telemetry is gone", "target is spelt out"}, nil},
		"JSON, the file's own comment": {"a.json", "{\n  // ours, see the wiki\n  \"telemetry\": false, // off\n  // loud\n  \"agent\": {\"log_level\": \"info\"},\n  \"target\": \"pod/x\"\n}\n", "{\n  // ours, see the wiki\n\n  \"target\": \"pod/x\"\n}\n",
			[]string{"telemetry is gone", "agent.log_level is gone", "comments are gone with what they were about: // off, // loud"}, nil},
		"JSON, the file's own comment, and three keys": {"a.json", "{\n  // ours\n\n  \"telemetry\": false,\n  \"agent\": {\"log_level\": \"info\"},\n  \"use_proxy\": true,\n  \"target\": \"pod/x\"\n}\n", "{\n  // ours\n\n  \"target\": \"pod/x\"\n}\n",
			[]string{"telemetry is gone", "agent.log_level is gone", "use_proxy is gone"}, nil},
		"JSON, the file's own comment and no more": {"a.json", "{\n  // ours\n  \"telemetry\": false\n}\n", "{\n  // ours\n}\n", []string{"telemetry is gone"}, nil},
		"JSON, lines of another system":            {"a.json", "{\r\n  // ours\r\n  \"telemetry\": false,\r\n  \"target\": \"pod/x\"\r\n}\r\n", "{\r\n  // ours\r\n\r\n  \"target\": \"pod/x\"\r\n}\r\n", []string{"telemetry is gone"}, nil},
		"YAML, quotes of what stays": {"a.yaml", "target:\n  namespace: \"shop\" # y\n  path: {deployment: w}\n", "target:\n  path: deployment/w\n  namespace: \"shop\" # y\n",
			[]string{"target is written as a path"}, nil},
		"YAML, the file's own comment": {"a.yaml", "# ours, see the wiki\n# twice\ntelemetry: false # off\n# loud\nagent:\n  log_level: info\ntarget: pod/x\n", "# ours, see the wiki\n# twice\n\ntarget: pod/x\n",
			[]string{"telemetry is gone", "agent.log_level is gone", "comments are gone with what they were about: # off, # loud"}, nil},
		"YAML, lines of another system": {"a.yaml", "# ours\r\n\r\ntelemetry: false\r\ntarget: 'deploy/x' # it\r\n\r\nfeature:\r\n  env:\r\n    override:\r\n      A: \"1\"\r\n      'B': '2'\r\n", "# ours\r\n\r\ntarget: 'deployment/x' # it\r\n\r\nfeature:\r\n  env:\r\n    override:\r\n      A: \"1\"\r\n      'B': '2'\r\n",
			[]string{"telemetry is gone", "target is spelt out"}, nil},
		"TOML, the file's own comment": {"a.toml", "# ours, see the wiki\ntelemetry = false # off\n# loud\nagent.log_level = 'info'\ntarget = 'pod/x'\n", "# ours, see the wiki\n\ntarget = 'pod/x'\n",
			[]string{"telemetry is gone", "agent.log_level is gone", "comments are gone with what they were about: # off, # loud"}, nil},
		"TOML, a first key's successor": {"a.toml", "telemetry = false\n# loud\nagent.log_level = 'info'\ntarget = 'pod/x'\n", "target = 'pod/x'\n",
			[]string{"telemetry is gone", "agent.log_level is gone", "comments are gone with what they were about: # loud"}, nil},
		"agent.pause":       {"a.json", `{"agent": {"pause": true}, "target": "pod/x"}`, `{"target": "pod/x", "pause": true}`, []string{"agent.pause is pause now"}, []string{freezeOr}},
		"pause stays":       {"a.json", `{"pause": true, "target": "deployment/x"}`, `{"pause": true, "target": "deployment/x"}`, nil, []string{freezeOr}},
		"pause and freeze":  {"a.json", `{"target": "pod/x", "pause": true, "takeover": "freeze"}`, `{"target": "pod/x", "takeover": "freeze"}`, []string{"pause is gone: takeover: freeze says it already"}, nil},
		"pause and another": {"a.yaml", "pause: true\ntakeover: none\n", "pause: true\ntakeover: none\n", nil, []string{"pause and takeover exclude each other"}},
		"scaled down, and frozen": {"a.yaml", "takeover: freeze\ntarget: pod/x\nfeature: {copy_target: {enabled: false, scale_down: true}}\n", "takeover: freeze\ntarget: pod/x\nfeature: {copy_target: {enabled: false, scale_down: true}}\n", nil,
			[]string{"feature.copy_target.scale_down and takeover exclude each other: choose one of both"}},
		"scaled down, and a copy": {"a.json", `{"agent": {"ttl": 3}, "takeover": "copy", "feature": {"copy_target": {"scale_down": true}}}`, `{"takeover": "copy", "feature": {"copy_target": {"scale_down": true}}}`, []string{"agent.ttl is gone"},
			[]string{"feature.copy_target.scale_down and takeover exclude each other: choose one of both", "no target is named, and a stand-in is a copy of one"}},
		"not scaled down, and held": {"a.toml", "takeover = \"scale-down\"\n[feature.copy_target]\nscale_down = false\n", "takeover = \"scale-down\"\n[feature.copy_target]\nscale_down = false\n", nil,
			[]string{"no target is named, and a stand-in is a copy of one", "feature.copy_target.scale_down and takeover exclude each other: choose one of both"}},
		"scaled down, and held": {"a.yaml", "takeover: scale-down\nfeature: {copy_target: {scale_down: true}}\n", "takeover: scale-down\nfeature: {copy_target: {scale_down: true}}\n", nil, []string{"no target is named, and a stand-in is a copy of one"}},
		"scaled down, by nobody": {"a.yaml", "feature: {copy_target: {enabled: false, scale_down: true}}\n", "feature: {copy_target: {enabled: false, scale_down: true}}\n", nil,
			[]string{"feature.copy_target.scale_down needs a stand-in"}},
		"a copy, and frozen":                  {"a.yaml", "takeover: freeze\nfeature: {copy_target: true}\n", "takeover: freeze\nfeature: {copy_target: true}\n", nil, []string{"there is nothing to pause without a target", "feature.copy_target and takeover exclude each other"}},
		"a template that cannot be filled in": {"a.yaml", "takeover: copy\npause: true\ntarget: \"{{ get_env(name='SURELY_NOT_SET') }}\"\n", "takeover: copy\npause: true\ntarget: \"{{ get_env(name='SURELY_NOT_SET') }}\"\n", nil, []string{"pause and takeover exclude each other: choose one of both", "whether anything else is wrong is not known here: a.yaml:3: in {{"}},
		"pause, twice":                        {"a.yaml", "agent: {pause: true}\npause: true\ntarget: pod/x\n", "pause: true\ntarget: pod/x\n", []string{"agent.pause is gone: pause says it already"}, []string{freezeOr}},
		"pause, twice and differently":        {"a.yaml", "agent: {pause: true}\npause: false\ntarget: pod/x\n", "agent: {pause: true}\npause: false\ntarget: pod/x\n", nil, []string{"pause and agent.pause say different things"}},
		"no pause":                            {"a.yaml", "pause: 3\n", "pause: 3\n", nil, []string{"pause is 3, where true or false is expected"}},
		"a byte order mark, JSON":             {"a.json", mark + `{"telemetry": true, "target": "pod/x"}`, mark + `{"target": "pod/x"}`, []string{"telemetry is gone"}, nil},
		"a byte order mark, YAML":             {"a.yaml", mark + "telemetry: true\ntarget: pod/x\n", mark + "target: pod/x\n", []string{"telemetry is gone"}, nil},
		"a byte order mark, TOML":             {"a.toml", mark + "telemetry = true\ntarget = 'pod/x'\n", mark + "target = 'pod/x'\n", []string{"telemetry is gone"}, nil},
		"an empty file":                       {"a.json", "", "", nil, nil},
		"a file with a mark alone":            {"a.json", mark + "\n", mark + "\n", nil, nil},
		"a template is called what it is":     {"a.json", `{"target":"deploy/{{ key }}"}`, `{"target":"deployment/{{ key }}"}`, []string{"target is spelt out: deployment/{{ key }}"}, nil},
		"and in an object":                    {"a.json", `{"target":{"deployment":"{{ key }}"}}`, `{"target":"deployment/{{ key }}"}`, []string{"target is written as a path: deployment/{{ key }}"}, nil},
		"a time as a text":                    {"a.json", `{"agent": {"startup_timeout": "90"}, "key": "k"}`, `{"key": "k", "setup_timeout": "90s"}`, []string{"agent.startup_timeout is setup_timeout now"}, nil},
		"a time with its unit":                {"a.json", `{"agent": {"startup_timeout": "2m"}, "key": "k"}`, `{"key": "k", "setup_timeout": "2m"}`, []string{"agent.startup_timeout is setup_timeout now"}, nil},
		"a time from a template":              {"a.json", `{"key": "k", "agent": {"startup_timeout": "{{ get_env(name='SURELY_NOT_SET', default='90') }}"}}`, `{"key": "k", "setup_timeout": "{{ get_env(name='SURELY_NOT_SET', default='90') }}"}`, []string{"agent.startup_timeout is setup_timeout now"}, nil},
		"no time":                             {"a.json", `{"agent": {"startup_timeout": "soon"}}`, `{"agent": {"startup_timeout": "soon"}}`, nil, []string{"agent.startup_timeout is setup_timeout here, and \"soon\" is no time"}},
		"a time, twice":                       {"a.json", `{"agent": {"startup_timeout": 90}, "setup_timeout": 90}`, `{"setup_timeout": 90}`, []string{"agent.startup_timeout is gone: setup_timeout says it already"}, nil},
		"two times":                           {"a.json", `{"agent": {"startup_timeout": 90}, "setup_timeout": "80s"}`, `{"agent": {"startup_timeout": 90}, "setup_timeout": "80s"}`, nil, []string{"agent.startup_timeout and setup_timeout"}},
		"lists that are joined": {"a.yaml", "feature: {fs: {local: a;b}, network: {outgoing: {filter: {local: 'a:1;b'}}}}\n", "feature: {fs: {local: [a, b]}, network: {outgoing: {filter: {local: ['a:1', b]}}}}\n",
			[]string{"feature.fs.local is a list now", "feature.network.outgoing.filter.local is a list now"}, nil},
		"what holds anyway": {"a.json", `{"target": "pod/x", "feature": {"network": {"incoming": {"on_concurrent_steal": "abort"}}}, "use_proxy": true}`, `{"target": "pod/x"}`,
			[]string{"feature.network.incoming.on_concurrent_steal is gone: \"abort\" is what holds anyway", "use_proxy is gone: true is what holds anyway"}, nil},
		"a file in the new form": {"a.json", `{"takeover": "copy",  "target":"pod/x" , }`, `{"takeover": "copy",  "target":"pod/x" , }`, nil, nil},
		"what a person decides": {"a.json", `{"pause": true, "feature": {"copy_target": true, "split_queues": {"a": {}}}, "nope": 1, "target": {"labels": {"a": "b"}}}`,
			`{"pause": true, "feature": {"copy_target": true, "split_queues": {"a": {}}}, "nope": 1, "target": {"labels": {"a": "b"}}}`, nil,
			[]string{"pause and feature.copy_target exclude each other", "feature.split_queues is not taken", "there is no key nope", "target.labels is not taken"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := File(tc.file, []byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.out, string(got.Text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for what, pair := range map[string][2][]string{"changes": {tc.changes, got.Changes}, "left": {tc.left, got.Left}} {
				if len(pair[0]) != len(pair[1]) {
					t.Errorf("%s: %q", what, pair[1])
					continue
				}
				for i := range pair[0] {
					if !strings.HasPrefix(pair[1][i], pair[0][i]) {
						t.Errorf("%s: %q, want %q", what, pair[1][i], pair[0][i])
					}
				}
			}
		})
	}
}

func TestTemplatesThatAreNoText(t *testing.T) {
	_, err := File("a.json", []byte(`{"lease": {{ get_env(name="L", default="30") }}}`))
	var placed *source.Error
	if !errors.As(err, &placed) || !strings.Contains(placed.Advice, "rewrite it by hand") {
		t.Errorf("got %v", err)
	}
	_, err = File("a.json", []byte(`{"lease": {{ get_env(name="L", default="30") }}, "telemetry": false, "target": "deploy/{{ key }}"}`))
	if !errors.As(err, &placed) || strings.Contains(placed.What+placed.Advice, "understudy-template") || !strings.Contains(placed.What, `{{ get_env(name="L", default="30") }}`) ||
		!strings.Contains(placed.Advice, "\n- telemetry is gone") || !strings.Contains(placed.Advice, "\n- target is spelt out") {
		t.Errorf("what there is to change is not told: %+v", placed)
	}
}

// TestLeft: what exec would refuse afterwards is said, once each.
func TestLeft(t *testing.T) {
	for text, want := range map[string][]string{
		"feature: {network: {incoming: mirror}}":                          {"feature.network.incoming.mode mirror does not work yet: say steal"},
		"feature: {env: {include: [A], exclude: [B]}}":                    {"feature.env.include and feature.env.exclude exclude each other: name what"},
		"feature: {network: {incoming: {ports: [1], ignore_ports: [2]}}}": {"feature.network.incoming.ports and ignore_ports exclude each other: name the ports"},
		"target: service/web":                                             {"a Service runs no pods that could be copied, held or attached to: name the workload behind it, as in deployment/web"},
		"target: deployment/x\nwait: true":                                {"what leaves the target as it is waits for nobody: leave wait out"},
		"feature: {fs: readd}":                                            {"feature.fs.mode is \"readd\", where "},
		"agent: {startup_timeout: 7200}":                                  {"a setup timeout of 2h0m0s is not possible: choose between"},
		"agent: {startup_timeout: soon}":                                  {"agent.startup_timeout is setup_timeout here, and \"soon\" is no time: write it as in 90s"},
		"lease: soon":                                                     {"lease is \"soon\""},
		"nope: 1\nfeature: {env: {nope: 1}}":                              {"there is no key nope", "there is no key feature.env.nope"},
		"feature: {split_queues: {a: {}}, network: {incoming: {http_filter: {header_filter: a}}}}": {"feature.split_queues is not taken", "feature.network.incoming.http_filter"},
		"pause: 3":    {"pause is 3, where true or false is expected"},
		"pause: true": {freezeOr, "there is nothing to pause without a target"},
		"agent: {pause: true}\npause: false\ntarget: pod/x":    {"pause and agent.pause say different things"},
		"agent: {startup_timeout: 90}\nsetup_timeout: 80s":     {"agent.startup_timeout and setup_timeout say the same thing differently"},
		"target: {labels: {a: b}}":                             {"target.labels is not taken"},
		"target: {deployment: x, nope: y}":                     {"there is no key target.nope"},
		"target: \"pod/{{ get_env(name='SURELY_NOT_SET') }}\"": {"whether anything else is wrong is not known"},
		"target: pod/x\nfeature: {network: {incoming: steal}}": nil,
	} {
		got, err := File("a.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !slices.EqualFunc(got.Left, want, strings.HasPrefix) {
			t.Errorf("%s:\n got %q\nwant %q", text, got.Left, want)
		}
	}
}

// TestTemplatesThatAreRefused: what a template leaves in or out elsewhere is
// not to be seen here, so a file whose meaning hangs on one stays as it is.
func TestTemplatesThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ file, text, why string }{
		"TOML, a variable":                {"a.toml", "{% set n = \"a\" %}target = \"deploy/{{ n }}\"\ntelemetry = false\n", "elsewhere"},
		"YAML, a variable":                {"a.yaml", "{% set n = \"a\" %}target: deploy/{{ n }}\ntelemetry: false\n", "elsewhere"},
		"TOML, a condition on one line":   {"a.toml", "telemetry = false\n{% if get_env(name=\"CI\", default=\"\") %} takeover = \"copy\" {% endif %}\n", "elsewhere"},
		"JSON, a condition round a key":   {"a.json", "{\n{% if key %}\n \"telemetry\": true,\n{% endif %}\n \"lease\": 30\n}\n", "elsewhere"},
		"JSON, a condition at the end":    {"a.json", "{\"agent\": {\"startup_timeout\": 3}, \"lease\": \"30s\"{% if key %}, \"takeover\": \"copy\"{% endif %}}", "elsewhere"},
		"JSON, a comment that goes":       {"a.json", `{"telemetry": {# no #} false, "target": "pod/x"}`, "stand where they stood"},
		"a template in a value that goes": {"a.json", `{"agent": {"log_level": "{{ key }}"}, "target": "pod/x"}`, "stand where they stood"},
		"a variable that is not here":     {"a.json", `{"telemetry": false, "target": "pod/{{ get_env(name='UNDERSTUDY_NONE') }}"}`, "is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := File(tc.file, []byte(tc.text))
			var placed *source.Error
			if !errors.As(err, &placed) {
				t.Fatalf("got %v, %v", got, err)
			}
			if !strings.Contains(placed.What, tc.why) || !strings.Contains(placed.Advice, "rewrite it by hand") || !strings.Contains(placed.Advice, "is gone") && !strings.Contains(placed.Advice, " now") {
				t.Errorf("got %q, %q", placed.What, placed.Advice)
			}
		})
	}
	text := []byte("{% if key %}\ntarget = \"pod/x\"\n{% endif %}\n")
	if got, err := File("a.toml", text); err != nil || string(got.Text) != string(text) {
		t.Errorf("nothing was to be changed, and got %v, %v", got, err)
	}
}

// TestLegacy: other people's files mean the same afterwards, and a second time
// nothing changes.
func TestLegacy(t *testing.T) {
	files, err := filepath.Glob("../testdata/legacy/*.*")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("USER", "ada")
	seen := 0
	for _, file := range files {
		if filepath.Ext(file) == ".tsv" {
			continue
		}
		seen++
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, err := File(file, text)
			if err != nil {
				t.Fatal(err)
			}
			second, err := File(file, first.Text)
			if err != nil {
				t.Fatalf("%v\n%s", err, first.Text)
			}
			if len(second.Changes) > 0 {
				t.Errorf("a second time: %q", second.Changes)
			}
			before, wrongBefore := resolved(t, filepath.Base(file), text)
			after, wrongAfter := resolved(t, filepath.Base(file), first.Text)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("it means something else (-before +after):\n%s\n%s", diff, first.Text)
			}
			if len(wrongBefore) != len(wrongAfter) {
				t.Errorf("problems: %q before, %q after", wrongBefore, wrongAfter)
			}
			for _, wrong := range wrongAfter {
				if !slices.ContainsFunc(first.Left, func(left string) bool { return strings.HasPrefix(left, wrong.What) }) {
					t.Errorf("it is wrong, and not said to be left: %s\n%q", wrong.What, first.Left)
				}
			}
			for _, left := range first.Left {
				if !strings.HasPrefix(left, freezeOr) && !slices.ContainsFunc(wrongAfter, func(p *config.Problem) bool { return strings.HasPrefix(left, p.What) }) {
					t.Errorf("it is left to a person, and nothing is wrong: %s", left)
				}
			}
		})
	}
	if seen != 80 {
		t.Errorf("there were %d files", seen)
	}
}

// resolved is what a text means, without what must be different, and all that verify
// says against it.
func resolved(t *testing.T, name string, text []byte) (*config.Config, config.Problems) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("PWD", "/work") // for templates: the same before and after
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.FileFlags(flags)
	if err := flags.Parse([]string{"-f", name, "--key", "k"}); err != nil {
		t.Fatal(err)
	}
	c, err := config.Read(flags)
	var problems config.Problems
	_ = errors.As(err, &problems)
	problems = slices.DeleteFunc(problems, func(p *config.Problem) bool { // of this machine, and not of the file
		return strings.HasPrefix(p.What, "there is no file ") && strings.HasSuffix(p.What, ", which kubeconfig names")
	})
	c.Notices = nil
	c.Target = strings.Replace(c.Target, "deploy/", "deployment/", 1)
	return c, problems
}
