package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const lone = `
apiVersion: v1
kind: Pod
metadata: {name: lone, namespace: shop, uid: p1, labels: {app: lone}}
spec:
  nodeName: n1
  containers:
  - name: app
    image: x
    ports: [{containerPort: 8080}]
    livenessProbe: {httpGet: {port: 8080, path: /alive}}
  - {name: proxy, image: x}
status: {containerStatuses: [{name: app, started: true, ready: true, state: {running: {}}}]}
`

// What is against freezing a pod, and what the agent does for it meanwhile.
func TestFrozen(t *testing.T) {
	freeze := func(w *World) { w.Takeover = "freeze" }
	for name, c := range map[string]struct {
		manifest string
		change   func(*World)
		want     []string
	}{
		"a probe over the network": {lone, freeze, []string{"notes ProbesAnswered: http probe of port 8080"}},
		"an exec probe":            {strings.Replace(lone, "httpGet: {port: 8080, path: /alive}", "exec: {command: [x]}", 1), freeze, []string{"blocks FreezeRefused: pod/lone: the liveness probe of container app runs a command"}},
		"the node's network":       {strings.Replace(lone, "nodeName: n1", "hostNetwork: true", 1), freeze, []string{"blocks FreezeRefused: hostNetwork", "notes ProbesAnswered"}},
		"not ready meanwhile":      {strings.Replace(lone, "livenessProbe: {httpGet: {port: 8080, path: /alive}}", "readinessProbe: {exec: {command: [x]}}", 1), freeze, []string{"warns FreezeDiffers: is not ready while it is frozen"}},
		"still starting":           {strings.NewReplacer("livenessProbe: {httpGet: {port: 8080, path: /alive}}", "startupProbe: {exec: {command: [x]}}", "started: true", "started: false").Replace(lone), freeze, []string{"warns FreezeDiffers: it is waited for first"}},
		"attached to":              {strings.Replace(lone, "nodeName: n1", "hostNetwork: true", 1), func(w *World) { w.Takeover = "none" }, []string{"blocks FreezeRefused: whose ports would be taken from the node"}},
		"copied":                   {strings.Replace(lone, "httpGet: {port: 8080, path: /alive}", "exec: {command: [x]}", 1), func(w *World) { w.Takeover = "copy" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, c.manifest, c.change)
			expect(t, append(frozen(w), probes(w)...), c.want...)
		})
	}
	p := Make(shop(t, lone, freeze))
	if p.Node != "n1" || len(p.Pods) != 1 || p.Blocked || !strings.Contains(strings.Join(p.AtEnd, "\n"), "understudy thaw") || !strings.Contains(p.Before[0], "node n1") {
		t.Errorf("planned as %+v", p)
	}
	kept := Make(shop(t, lone, func(w *World) { w.Takeover, w.Asked.ReleaseConnections = "freeze", false }))
	if !strings.Contains(p.Before[2], "are cut") || !strings.Contains(kept.Before[2], "are kept") {
		t.Errorf("the connections: %q, and where they are kept %q", p.Before[2], kept.Before[2])
	}
	alone := func(w *World) { freeze(w); w.Alone = true }
	if p := Make(shop(t, lone, alone)); p.Blocked || !strings.Contains(p.Before[0], "your own rights") || strings.Contains(strings.Join(p.AtEnd, "\n"), "operator") {
		t.Errorf("planned without an operator as %+v", p)
	}
	refused := Make(shop(t, strings.Replace(lone, "httpGet: {port: 8080, path: /alive}", "exec: {command: [x]}", 1),
		func(w *World) { alone(w); w.Stands = errors.New("you lack rights") }))
	expect(t, slices.DeleteFunc(refused.Findings, func(f Finding) bool { return f.Severity != Blocks }), "blocks FreezeRefused: you lack rights")
	if err := First(shop(t, strings.Replace(lone, "httpGet: {port: 8080, path: /alive}", "exec: {command: [x]}", 1), freeze)); err == nil {
		t.Error("a pod that would not live through it is not refused at once")
	}
}
