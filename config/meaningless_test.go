package config

import (
	"strings"
	"testing"
)

// TestMeaningless: what has no meaning here is held to what the other tool takes, and
// what is refused below it is refused.
func TestMeaningless(t *testing.T) {
	const file = ".understudy/understudy.yaml"
	for text, want := range map[string]string{
		"experimental: 5":                                          ":1: experimental is 5, where an object is expected",
		"experimental: []":                                         ":1: experimental is a list, where an object is expected",
		"telemetry: {}":                                            ":1: telemetry is an object, where true or false is expected",
		"experimental:\n  dlopen_cgo: 1":                           ":2: experimental.dlopen_cgo is 1, where true or false is expected",
		"experimental:\n  nope: 1":                                 ":2: there is no key experimental.nope",
		"experimental:\n  latensy: {receive_delay: 1}":             ":2: there is no key experimental.latensy",
		"experimental:\n  latency: {receive_delay: 1}":             ":2: experimental.latency is not taken: connections cannot be slowed down here",
		"agent:\n  ttl: '30'":                                      `:2: agent.ttl is "30", where a whole number from 0 to 65535 is expected`,
		"agent:\n  ttl: 70000":                                     ":2: agent.ttl is 70000, where a whole number from 0 to 65535 is expected",
		"agent:\n  ttl: 1.5":                                       ":2: agent.ttl is 1.5, where a whole number from 0 to 65535 is expected",
		"agent:\n  ephemeral: 'false'":                             `:2: agent.ephemeral is "false", where true or false is expected`,
		"agent:\n  dns:\n    atempts: 1":                           ":3: there is no key agent.dns.atempts",
		"agent:\n  dns:\n    attempts: -1":                         ":3: agent.dns.attempts is -1, where a whole number from 0 to 4294967295 is expected",
		"skip_processes:\n- a\n- 2":                                ":3: skip_processes[1] is 2, where a string is expected",
		"skip_processes: 2":                                        ":1: skip_processes is 2, where a string or a list of strings is expected",
		"feature:\n  magic: {aws: yes please}":                     `:2: feature.magic.aws is "yes please", where true or false is expected`,
		"agent:\n  disabled_capabilities:\n  - NET_RAW\n  - 1":     ":4: agent.disabled_capabilities[1] is 1, where a string is expected",
		"startup_retry:\n  max_ms: 1\n  min: 2\n  max_retries: no": ":3: there is no key startup_retry.min",
	} {
		_, err := setup{files: map[string]string{file: "\n\n" + text}}.read(t)
		line, what, _ := strings.Cut(want[1:], ":")
		want = file + ":" + string(line[0]+2) + ":" + what
		if !strings.Contains(errorText(err), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
	for _, text := range []string{
		"experimental: {applev: {anything: [1]}, dlopen_cgo: true, latency: null}", "agent: {ttl: 30, dns: {attempts: 4}, json_log: null}",
		"skip_processes: a;b", "skip_sip: [a]", "experimental: null", "experimental: {}", "container: {override_host_ip: 10.0.0.1, cli_extra_args: [a]}",
	} {
		if _, err := (setup{files: map[string]string{file: text}}).read(t); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"experimental: {latensy: {receive_delay: 1}}": "did you mean experimental.latency?",
		"agent: {dns: {atempts: 1}}":                  "did you mean agent.dns.attempts?",
		"agent: {tl: 1}":                              "did you mean agent.ttl?",
		"feature: {split_queue: {a: {}}}":             "did you mean feature.split_queues?",
	} {
		_, err := setup{files: map[string]string{file: text}}.read(t)
		if problems, _ := err.(Problems); problems.Hint() != want { //nolint:errorlint // it returns nothing else
			t.Errorf("%s: hint %q, want %q", text, problems.Hint(), want)
		}
	}
}
