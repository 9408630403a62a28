package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// another is jane's session for an object.
func another(name, uid, takeover, status string) string {
	return fmt.Sprintf(`
metadata: {name: %s, creationTimestamp: "2026-11-24T10:00:00Z"}
spec: {takeover: %s, owner: {username: jane, hostname: laptop}, target: {group: apps, resource: deployments, name: worker, uid: %s}}
status: %s
`, name, takeover, uid, status)
}

// ended is the status of a session whose owner was not heard of any more.
func ended(others ...string) string {
	all := append([]string{`{type: Ready, status: "False", reason: LeaseExpired}`}, others...)
	return "{conditions: [" + strings.Join(all, ", ") + "]}"
}

// Who has it already, and what that means.
func TestHolder(t *testing.T) {
	const claimed = `{conditions: [{type: Claimed, status: "True"}]}`
	sessions := func(all ...string) func(*World) {
		return func(w *World) { w.Sessions = seeing[v1alpha1.Session](t, all...) }
	}
	bears := func(of types.UID) func(*World) {
		return func(w *World) {
			claim := v1alpha1.NewClaim(of, "s1", "worker-1", "jane", 3, time.Unix(0, 0))
			w.Target.Object.SetAnnotations(map[string]string{v1alpha1.ClaimAnnotation: claim.String()})
		}
	}
	for name, c := range map[string]struct {
		change []func(*World)
		want   []string
	}{
		"nobody":                     {nil, nil},
		"another's":                  {[]func(*World){sessions(strings.Replace(another("other-1", "u9", "ScaleDown", claimed), "name: worker, uid", "name: other, uid", 1))}, nil},
		"held":                       {[]func(*World){sessions(another("worker-1", "u1", "ScaleDown", claimed))}, []string{"blocks Held: held by jane (on laptop) since 2026-11-24T10:00:00Z (session worker-1)"}},
		"on its way":                 {[]func(*World){sessions(another("worker-1", "u1", "ScaleDown", "{}"))}, []string{"notes Beside: worker-1, scale-down"}},
		"copied":                     {[]func(*World){sessions(another("worker-1", "u1", "Copy", claimed))}, []string{"notes Beside: worker-1, copy"}},
		"a copy of one that is held": {[]func(*World){sessions(another("worker-1", "u1", "ScaleDown", claimed)), func(w *World) { w.Takeover = "copy" }}, []string{"notes Beside: keeps it from reading"}},
		"a queue": {[]func(*World){
			sessions(another("worker-1", "u1", "ScaleDown", claimed), another("worker-2", "u1", "ScaleDown", "{queue: {place: 1}}")),
			func(w *World) { w.Asked.Wait = true },
		}, []string{"warns Held: yours would wait", "notes Beside: 1 other waits"}},
		"its pod is frozen": {[]func(*World){sessions(another("worker-1", "p1", "Freeze", claimed)), func(w *World) {
			w.Workloads.Items = []target.Listed{{UID: "u1", Pods: []types.UID{"p1"}}}
		}}, []string{"blocks Held: held by jane"}},
		"an attached pod, frozen": {[]func(*World){sessions(another("worker-1", "u1", "None", claimed)), func(w *World) { w.Takeover = "freeze" }}, []string{"blocks Held: held by jane"}},
		"its pod is attached to": {[]func(*World){sessions(another("worker-1", "p1", "None", claimed)), func(w *World) {
			w.Workloads.Items = []target.Listed{{UID: "u1", Pods: []types.UID{"p1"}}}
		}}, []string{"notes Beside: worker-1, attach"}},
		"one that has ended": {[]func(*World){sessions(
			another("worker-1", "u1", "ScaleDown", ended(`{type: Restored, status: "True"}`)), another("worker-2", "u1", "Copy", ended()), another("worker-3", "u1", "Freeze", ended()),
		)}, nil},
		"one that is being undone": {[]func(*World){sessions(another("worker-1", "u1", "ScaleDown", ended(`{type: Held, status: "True"}`)))}, []string{"blocks Held: (session worker-1, which has ended (LeaseExpired) and is being undone)"}},
		"one that is being undone, waited for": {[]func(*World){
			sessions(another("worker-1", "u1", "ScaleDown", ended(`{type: Held, status: "True"}`))), func(w *World) { w.Asked.Wait = true },
		}, []string{"warns Held: which has ended (LeaseExpired) and is being undone): yours would wait"}},
		"an attached pod, being undone": {[]func(*World){sessions(another("worker-1", "u1", "None", ended(`{type: Claimed, status: "True"}`))), func(w *World) { w.Takeover = "freeze" }}, []string{"blocks Held: is being undone"}},
		"one that is being deleted": {[]func(*World){
			sessions(another("worker-1", "u1", "ScaleDown", claimed), another("worker-2", "u1", "Copy", "{}")), func(w *World) {
				for i := range w.Sessions.Items {
					w.Sessions.Items[i].DeletionTimestamp = &metav1.Time{Time: time.Unix(0, 0)}
				}
			},
		}, []string{"blocks Held: (session worker-1, which is ending and being undone)"}},
		"a claim, sessions unseen": {[]func(*World){bears("u1"), func(w *World) { w.Sessions.Not = "no" }}, []string{"blocks Held: session worker-1"}},
		"a claim that was left":    {[]func(*World){bears("u1")}, []string{"warns ClaimLeft: puts it back first, to 3 replicas"}},
		"a copied claim":           {[]func(*World){bears("u7")}, nil},
		"of one that was made anew since": {[]func(*World){
			sessions(another("worker-1", "u0", "ScaleDown", claimed)), bears("u1"),
		}, []string{"blocks Held: session worker-1"}},
		"beside one that was made anew since": {[]func(*World){sessions(another("worker-1", "u0", "Copy", claimed))}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, worker, func(w *World) {
				for _, change := range c.change {
					change(w)
				}
			})
			expect(t, holder(w), c.want...)
		})
	}
}
