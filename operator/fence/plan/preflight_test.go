package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPreflight(t *testing.T) {
	for name, test := range map[string]struct {
		pod  string
		want []string // codes; those that are final with a !
	}{
		"nothing against it": {pod: `{spec: {runtimeClassName: crun, os: {name: linux}, containers: [{name: worker, livenessProbe: {httpGet: {path: /, port: 80}}}]}}`},
		"no such container":  {`{spec: {initContainers: [{name: worker}], containers: [{name: other}]}}`, []string{"NoSuchContainer!"}},
		"host network":       {`{spec: {hostNetwork: true, containers: [{name: worker}]}}`, []string{"HostNetwork!"}},
		"a sandbox":          {`{spec: {runtimeClassName: gvisor, containers: [{name: worker}]}}`, []string{"SandboxedRuntime!"}},
		"Windows":            {`{spec: {os: {name: windows}, containers: [{name: worker}]}}`, []string{"NotLinux!"}},
		"exec liveness":      {`{spec: {containers: [{name: worker, livenessProbe: {exec: {command: [x]}}, readinessProbe: {exec: {command: [x]}}}]}}`, []string{"ExecProbe!", "ExecProbe"}},
		"another's exec":     {`{spec: {containers: [{name: worker}, {name: other, livenessProbe: {exec: {command: [x]}}}]}}`, nil},
		"starting by exec":   {`{spec: {containers: [{name: worker, startupProbe: {exec: {command: [x]}}}]}}`, []string{"NotStarted!"}},
		"started by exec": {`
spec: {containers: [{name: worker, startupProbe: {exec: {command: [x]}}}]}
status: {containerStatuses: [{name: worker, started: true, ready: true, restartCount: 0, image: "", imageID: ""}]}`, []string{"ExecProbe"}},
		"hooks by commands":             {`{spec: {containers: [{name: worker, lifecycle: {postStart: {exec: {command: [x]}}, preStop: {exec: {command: [x]}}}}]}}`, []string{"LifecycleHook", "LifecycleHook"}},
		"hooks that ask":                {`{spec: {containers: [{name: worker, lifecycle: {postStart: {httpGet: {port: 80}}, preStop: {httpGet: {port: 80}}}}]}}`, []string{"LifecycleHook", "LifecycleHook"}},
		"hooks that need nothing of it": {`{spec: {containers: [{name: worker, lifecycle: {postStart: {httpGet: {port: 80, host: db}}, preStop: {sleep: {seconds: 5}}}}]}}`, nil},
		"another's hooks":               {`{spec: {containers: [{name: worker}, {name: other, lifecycle: {preStop: {exec: {command: [x]}}}}]}}`, nil},
		"another host is asked":         {`{spec: {containers: [{name: worker, livenessProbe: {tcpSocket: {host: db, port: 1}}}]}}`, []string{"ForeignProbe"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, reason := range Preflight(read(t, test.pod), "worker") {
				code := reason.Code
				if reason.Final {
					code += "!"
				}
				if reason.Message == "" {
					t.Errorf("%s says nothing", code)
				}
				got = append(got, code)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What only a freeze would not survive is nothing against attaching.
func TestAttachable(t *testing.T) {
	for name, test := range map[string]struct {
		pod  string
		want []string
	}{
		"probes by commands": {`{spec: {containers: [{name: worker, livenessProbe: {exec: {command: [x]}}, startupProbe: {exec: {command: [x]}}}]}}`, nil},
		"host network":       {`{spec: {hostNetwork: true, containers: [{name: worker}]}}`, []string{"HostNetwork"}},
		"a sandbox":          {`{spec: {runtimeClassName: gvisor, containers: [{name: worker}]}}`, []string{"SandboxedRuntime"}},
		"no such container":  {`{spec: {containers: [{name: other}]}}`, []string{"NoSuchContainer"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, reason := range Attachable(read(t, test.pod), "worker") {
				got = append(got, reason.Code)
				if !reason.Final || strings.Contains(reason.Message, "freeze") {
					t.Errorf("%s: %v, %s", reason.Code, reason.Final, reason.Message)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
