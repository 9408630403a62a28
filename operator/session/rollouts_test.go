package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

// withRollouts runs the controller of Argo Rollouts for the stage's namespace,
// instead of the test's play of it.
func (s *stage) withRollouts() {
	s.t.Helper()
	apitest.Beside(s.t, "rollouts-controller", func(files string) {
		found, err := filepath.Glob(filepath.Join(files, "*-crd.yaml"))
		s.must(err)
		for _, file := range found {
			text, err := os.ReadFile(file)
			s.must(err)
			definition := &unstructured.Unstructured{}
			s.must(yaml.Unmarshal(text, &definition.Object))
			// The stage has Rollouts already, with everything that is not checked here.
			if definition.GetKind() == "CustomResourceDefinition" && definition.GetName() != "rollouts.argoproj.io" {
				s.ensure(definition)
			}
		}
	}, "--namespaced", "--namespace="+s.namespace, "--leader-elect=false", "--metricsPort=0", "--healthzPort=0")
	s.played = true
}

// rollout waits until it has seen what it was told, and is in that phase with so
// many pods that run.
func (s *stage) rollout(name, phase string, pods int) map[string]any {
	s.t.Helper()
	row := workload{kind: rolloutKind, other: [][]string{{"status"}}}
	s.awaits(fmt.Sprintf("rollout %s is %s with %d pods", name, phase, pods), func() bool {
		object := s.read(row, name)
		seen, _, _ := unstructured.NestedString(object.Object, "status", "observedGeneration")
		got, _, _ := unstructured.NestedString(object.Object, "status", "phase")
		return seen == fmt.Sprint(object.GetGeneration()) && got == phase && len(s.pods(name)) == pods
	})
	return normalOf(row, s.read(row, name))
}

// The controller of Argo Rollouts runs the workload: with a template of its own,
// and with that of a Deployment whose place it has taken. It is held and comes back;
// in the middle of a canary it is not touched.
func TestRollouts(t *testing.T) {
	s := newStage(t)
	s.withRollouts()
	s.start()
	const strategy = `strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}`
	for name, c := range map[string]struct {
		make []string
		// next is a change that makes a new version, of the last that was made.
		next string
	}{
		"own": {
			[]string{`{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {replicas: 2, ` + strategy + `, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `}}`},
			`[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "registry.example/worker:2"}]`,
		},
		"referred": {
			[]string{
				`{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {replicas: 2, ` + strategy + `, workloadRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}}}`,
				`{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 0, selector: {matchLabels: {app: NAME}}, template: ` + podTemplate + `}}`,
			},
			`[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "registry.example/worker:2"}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var last *unstructured.Unstructured
			for _, text := range c.make {
				last = s.object(strings.ReplaceAll(text, "NAME", name))
				last.SetName(name)
				last.SetNamespace(s.namespace)
				s.must(s.Create(s.ctx, last, client.FieldOwner("team")))
			}
			before := s.rollout(name, "Healthy", 2)
			target := v1alpha1.Target{Group: "argoproj.io", Resource: "rollouts", Name: name, UID: s.read(workload{kind: rolloutKind}, name).GetUID(), Container: "worker"}

			s.askFor(name, target, nil)
			s.awaits("its session is ready", func() bool { return s.isReady(name) })
			if pods := s.pods(name); len(pods) > 0 || !noReplicas(s.read(workload{kind: rolloutKind}, name).Object) {
				t.Errorf("it is held and the pods %v run", pods)
			}
			s.must(s.Delete(s.ctx, s.session(name)))
			s.awaits("its session is gone", func() bool { return s.session(name) == nil })
			if diff := cmp.Diff(before, s.rollout(name, "Healthy", 2)); diff != "" {
				t.Errorf("it differs (-before +after):\n%s", diff)
			}

			s.must(s.Patch(s.ctx, last, client.RawPatch(types.JSONPatchType, []byte(c.next)), client.FieldOwner("team")))
			canary := s.rollout(name, "Paused", 2)
			s.askFor(name, target, nil)
			s.awaits("its session is refused", func() bool {
				ready := s.conditionOf(name, v1alpha1.ConditionReady)
				return ready.Reason == v1alpha1.ReasonHoldRefused && strings.Contains(ready.Message, "between two versions")
			})
			s.must(s.Delete(s.ctx, s.session(name)))
			s.awaits("its session is gone", func() bool { return s.session(name) == nil })
			if diff := cmp.Diff(canary, s.rollout(name, "Paused", 2)); diff != "" {
				t.Errorf("it was touched in the middle of a canary (-before +after):\n%s", diff)
			}
		})
	}
}
