package plan

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/cli/failure"
)

// What keeps a stand-in from being made, and from running beside the target.
func TestStandIn(t *testing.T) {
	all := func(w *World) []Finding {
		var found []Finding
		for _, look := range []check{here, rights, impossible, trial, sideBySide, differs} {
			found = append(found, look(w)...)
		}
		return found
	}
	pod := func(line string) string {
		return strings.Replace(worker, "    spec:\n", "    spec:\n      "+line+"\n", 1)
	}
	claims := pod("volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]")
	ports := strings.Replace(worker, "        image: x\n", "        image: x\n        ports: [{containerPort: 80, hostPort: 8080}]\n", 1)
	apart := pod("affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: worker}}}]}}")
	copies := func(w *World) { w.Takeover = "copy" }
	with := func(mode string) func(*World) {
		return func(w *World) {
			w.Claims = seeing[corev1.PersistentVolumeClaim](t, "{metadata: {name: data}, spec: {accessModes: ["+mode+"]}}")
		}
	}
	for name, c := range map[string]struct {
		manifest string
		change   []func(*World)
		want     []string
	}{
		"nothing":      {worker, nil, nil},
		"no stage":     {worker, []func(*World){func(w *World) { w.Here = failure.New("do that", "no namespaces") }}, []string{"blocks NoStage: no namespaces"}},
		"no command":   {worker, []func(*World){func(w *World) { w.NoCommand = locateFails }}, []string{"blocks NoCommand: there is no command x on this machine"}},
		"no operator":  {worker, []func(*World){func(w *World) { w.Installed = errors.New("not installed") }}, []string{"blocks NotInstalled: not installed"}},
		"no rights":    {worker, []func(*World){func(w *World) { w.Rights = []error{errors.New("one"), errors.New("two")} }}, []string{"blocks MissingRight: one", "blocks MissingRight: two"}},
		"host network": {pod("hostNetwork: true"), nil, []string{"blocks StandInImpossible: hostNetwork"}},
		"refused":      {worker, []func(*World){func(w *World) { w.Trial.Refused = "denied by policy" }}, []string{"blocks AdmissionDenied: denied by policy"}},
		"untried":      {worker, []func(*World){func(w *World) { w.Trial.Untried = "you may not create pods" }}, []string{"notes AdmissionUntried: you may not create pods"}},
		"a claim":      {claims, []func(*World){with("ReadWriteOnce")}, []string{`warns NotSideBySide: on one node at a time: the target is brought to zero before`}},
		"a shared one": {claims, []func(*World){with("ReadWriteMany")}, nil},
		"a copy of it": {claims, []func(*World){with("ReadWriteOnce"), copies}, []string{"warns NotSideBySide: may find no node beside"}},
		"of one pod":   {claims, []func(*World){with("ReadWriteOncePod"), copies}, []string{"blocks NotSideBySide: cannot run beside the target"}},
		"a host port":  {ports, nil, []string{"warns NotSideBySide: takes port 8080 of its node"}},
		"left to it":   {ports, []func(*World){copies}, []string{"notes StandInDiffers: port 8080 of the node stays with the target"}},
		"kept apart":   {apart, nil, []string{"warns NotSideBySide: may not share a kubernetes.io/hostname"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, c.manifest, func(w *World) {
				for _, change := range c.change {
					change(w)
				}
			})
			expect(t, all(w), c.want...)
		})
	}
}

var locateFails = failure.New("", "there is no command x on this machine; nothing was changed in the cluster")

// First says what is certain, and nothing else.
func TestFirst(t *testing.T) {
	full := func(w *World) {
		w.Quotas = seeing[corev1.ResourceQuota](t, `{metadata: {name: compute}, status: {hard: {pods: "3"}, used: {pods: "3"}}}`)
	}
	if err := First(shop(t, worker, full)); err != nil {
		t.Errorf("what only the operator knows for certain is refused: %v", err)
	}
	for manifest, want := range map[string]string{
		losing: "cannot be held", job: "without its owner's word",
		strings.Replace(worker, "    spec:\n", "    spec:\n      hostNetwork: true\n", 1): "hostNetwork",
	} {
		if err := First(shop(t, manifest, nil)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
