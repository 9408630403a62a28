package config

import (
	"strings"
	"testing"
)

// TestRules: what does not go together.
func TestRules(t *testing.T) {
	const copies = "takeover: copy\n"
	for text, want := range map[string]string{
		"pause: true": "there is nothing to pause without a target",
		copies:        ".understudy/understudy.yaml:1: no target is named, and a stand-in is a copy of one",
		"lease: 2h\nfeature:\n  copy_target: true\n":                                           ".understudy/understudy.yaml:3: no target is named, and a stand-in is a copy of one",
		copies + "operator: false\n":                                                           "a stand-in is made by the operator, and operator: false forbids it",
		copies + "target: targetless\n":                                                        "a stand-in is a copy of a target, and targetless has none",
		copies + "target: service/x\n":                                                         "a Service runs no pods that could be copied, held or attached to",
		"target: deployment/Bad_Name\n":                                                        `nothing in a cluster can be called "Bad_Name"`,
		"target: label/app=worker\n":                                                           `a target is one object, not whatever bears a label: label/app=worker`,
		"target: {path: pod/x, namespace: BAD!}\n":                                             `no namespace can be called "BAD!"`,
		"target: service/x\n":                                                                  "a Service runs no pods that could be copied, held or attached to",
		copies + "target: {labels: {a: b}}\n":                                                  "target.labels is not taken",
		copies + "feature: {env: {include: a, exclude: b}}\n":                                  "feature.env.include and feature.env.exclude exclude each other",
		copies + "feature: {network: {incoming: {ports: [1], ignore_ports: [2]}}}":             "ports and ignore_ports exclude each other",
		copies + "feature: {network: {incoming: {port_mapping: [[1, 2], [1, 3]]}}}":            "port_mapping has 1 twice in the first place",
		copies + "feature: {network: {incoming: {port_mapping: [[1, 2]], ignore_ports: [2]}}}": "port 2 is in port_mapping and in ignore_ports",
		copies + "feature: {network: {incoming: {listen_ports: [[1, 2], [3, 2]]}}}":            "listen_ports has 2 twice in the second place",
		copies + "feature: {network: {incoming: mirror}}":                                      "feature.network.incoming.mode mirror does not work yet",
		copies + "feature: {network: {dns: {filter: {local: a, remote: b}}}}":                  "feature.network.dns.filter.local and remote exclude each other",
		copies + "feature: {network: {dns: {filter: {local: 'a b'}}}}":                         `"a b" is no name`,
		copies + "feature: {fs: {read_write: '('}}":                                            `feature.fs.read_write: "(" is no regular expression`,
		copies + "lease: 4s":                                                                   "a lease of 4s is not possible",
		copies + "lease: 5500ms":                                                               "a lease of 5.5s is not possible",
		copies + "setup_timeout: 2h":                                                           "a setup timeout of 2h0m0s is not possible",
		"takeover: scale-down\nrelease_connections: false":                                     "connections are kept open only where something is frozen",
		"takeover: scale-down\nshare_traffic: true":                                            "share_traffic is for a copy beside the target",
		copies + "feature: {network: {incoming: {on_concurrent_steal: override}}}":             "on_concurrent_steal is not taken",
		copies + "feature: {fs: {local: '(?=x)'}}":                                             "is no regular expression",
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

// TestMisnamed: who has written a target wrongly is not told that there is none.
func TestMisnamed(t *testing.T) {
	for _, text := range []string{"target: {labels: {a: b}}", "target: {path: {label: a}}", "target: 3", "target: {path: 3}"} {
		for _, takeover := range []string{"copy", "freeze"} {
			_, err := setup{files: map[string]string{".understudy/understudy.yaml": "takeover: " + takeover + "\n" + text}}.read(t)
			if problems, _ := err.(Problems); len(problems) != 1 { //nolint:errorlint // it returns nothing else
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

// TestNoTargetIsNotTwice: who is told that what names the target is wrong is not told
// besides that none is named.
func TestNoTargetIsNotTwice(t *testing.T) {
	const file = ".understudy/understudy.yaml"
	for text, tc := range map[string]struct {
		args []string
		want string
	}{
		"target: {labels: {a: b}}": {nil, file + ":1: target.labels is not taken"},
		"target: 3":                {nil, file + ":1: target is 3"},
		"target: deployment/w":     {[]string{"-t", ""}, "--target is empty"},
		"target: pod/w":            {[]string{"--copy-target", "--target="}, "--target is empty"},
	} {
		c, err := setup{files: map[string]string{file: text}, args: tc.args}.read(t)
		if problems, _ := err.(Problems); len(problems) != 1 || !strings.HasPrefix(err.Error(), tc.want) || problems.Hint() == "" && tc.args != nil { //nolint:errorlint // it returns nothing else
			t.Errorf("%s %q: got %v", text, tc.args, err)
		}
		if notices := strings.Join(c.Notices, "\n"); strings.Contains(notices, "no target") {
			t.Errorf("%s %q: got notices %q", text, tc.args, notices)
		}
	}
	if c, err := (setup{}).read(t); err != nil || !strings.Contains(strings.Join(c.Notices, "\n"), "no target is named") {
		t.Errorf("where none is named nothing says so, error %v", err)
	}
}

// TestNothingAsked: what is refused is not where it asks for nothing.
func TestNothingAsked(t *testing.T) {
	for _, text := range []string{
		"{http_filter: false}", "{http_filter: true}", "{http_filter: {}}", "{on_concurrent_steal: abort}", "{on_concurrent_steal: null}",
		"{http_filter: {header_filter: null}}", "{http_filter: {ports: [80]}}", "{http_filter: {ports: [80], path_filter: null}}", "{tls_delivery: {protocol: null}}",
	} {
		if _, err := (setup{files: map[string]string{".understudy/understudy.yaml": "target: pod/x\nfeature: {network: {incoming: " + text + "}}\n"}}).read(t); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestNothingAskedByVariables: the same of variables.
func TestNothingAskedByVariables(t *testing.T) {
	for name, want := range map[string]string{
		"MIRRORD_HTTP_FILTER_PORTS": "MIRRORD_HTTP_FILTER_PORTS has no meaning here: ", "MIRRORD_PREVIEW_IMAGE": "MIRRORD_PREVIEW_IMAGE has no meaning here: ",
		"MIRRORD_PREVIEW_TTL_MINS": "MIRRORD_PREVIEW_TTL_MINS has no meaning here: ",
	} {
		c, err := setup{environ: map[string]string{name: "80"}, args: []string{"-t", "pod/x"}}.read(t)
		if err != nil || !strings.Contains(strings.Join(c.Notices, "\n"), want) {
			t.Errorf("%s: %v, %q", name, err, c.Notices)
		}
	}
	for _, value := range []string{"x: y", "true", "false"} { // they are filters as others are
		_, err := setup{environ: map[string]string{"MIRRORD_HTTP_HEADER_FILTER": value, "MIRRORD_HTTP_FILTER_PORTS": "80"}}.read(t)
		if want := "MIRRORD_HTTP_HEADER_FILTER: feature.network.incoming.http_filter is not taken"; !strings.Contains(errorText(err), want) {
			t.Errorf("%s: %v", value, err)
		}
	}
}
