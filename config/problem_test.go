package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestProblems: what is wrong, all at once, each with its line: first what was typed
// or set, then the file's from top to bottom.
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
		`--listen: listen is "http", where ports from 1 to 65535, or all is expected | `,
		`UNDERSTUDY_COPY_TARGET: feature.copy_target.enabled is "maybe", where true or false is expected | `,
		f + "2: there is no key targets | did you mean target?",
		f + `4: lease is "soon", where a time, as in 60s or 5m, or a number of seconds is expected | `,
		f + "6: there is no key target.path.namespace | did you mean target.namespace?",
		f + "8: feature.env.include and feature.env.exclude exclude each other | name what is taken, or what is left out",
		f + `8: feature.env.mapping: "(" is no regular expression: missing closing ): ` + "`(` | ",
		f + `9: feature.fs.mode is "reed", where one of read, write, local, localwithoverrides is expected | did you mean read?`,
		f + `10: feature.hostname is "true", where true or false is expected | `,
		f + "12: feature.network.incoming.ports[1] is 99999, where a port from 1 to 65535 is expected | ",
		f + "13: feature.network.outgoing.filter.local and remote exclude each other | name what is reached from this machine, or what from the pod",
		f + `13: feature.network.outgoing.filter: "tcp:/x" is no destination | write [tcp://|udp://]host, address or CIDR[:port], or :port`,
		f + "14: feature.network.dns is 3, where an object or a boolean is expected | ",
		f + "15: feature.split_queues is not taken: a queue's messages cannot be divided yet: the local process takes all or none | take the section out and say feature.copy_target.scale_down: true, so that every message comes to you",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := err.Error(); !strings.HasPrefix(text, "15 things are wrong with what was asked for\n- MIRRORD_PROXY: ") {
		t.Error(text)
	}
}
