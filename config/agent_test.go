package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

func readAgent(t *testing.T, text string) (*Config, error) {
	t.Helper()
	return setup{files: map[string]string{".understudy/understudy.yaml": text}}.read(t)
}

const wholeAgent = `target: targetless
agent:
  resources:
    limits: {cpu: 0.5, memory: 128Mi}
    requests: {cpu: 20m}
  labels: {team: a}
  annotations: {Who/why: "x y"}
  node_selector: {disk: ssd}
  tolerations: [{key: dedicated, operator: Equal, value: ci, effect: NoExecute, tolerationSeconds: 30}]
  priority_class: high
  service_account: agents
  image_pull_policy: Never
  image_pull_secrets: [{name: registry}]
  security_context:
    app_armor_profile: {type: Localhost, localhost_profile: agents}
    seccomp_profile: {type: RuntimeDefault}
`

func TestAgent(t *testing.T) {
	c, err := readAgent(t, wholeAgent)
	if err != nil {
		t.Fatal(err)
	}
	want := Agent{
		Resources: Resources{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("20m")},
			Limits:   corev1.ResourceList{"cpu": resource.MustParse("0.5"), "memory": resource.MustParse("128Mi")},
		},
		Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"Who/why": "x y"}, NodeSelector: map[string]string{"disk": "ssd"},
		Tolerations:   []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: "ci", Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To(int64(30))}},
		PriorityClass: "high", ServiceAccount: "agents", PullPolicy: "Never", ImagePullSecrets: []corev1.LocalObjectReference{{Name: "registry"}},
		AppArmor: SecurityProfile{Type: "Localhost", Localhost: "agents"}, Seccomp: SecurityProfile{Type: "RuntimeDefault"},
	}
	if diff := cmp.Diff(want, c.Agent); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	shown, err := c.Show(false)
	if err != nil {
		t.Fatal(err)
	}
	again, err := readAgent(t, string(shown))
	if diff := cmp.Diff(c.Agent, again.Agent); err != nil || diff != "" {
		t.Errorf("as it is shown it is read as another: %v\n%s\n%s", err, diff, shown)
	}
}

// TestAgentIsStrict: what is wrong is told where it stands, before anything of it
// reaches a cluster.
func TestAgentIsStrict(t *testing.T) {
	for text, want := range map[string]string{
		"resources:\n    limits:\n      memory: 64 MB":                 `:4: agent.resources.limits.memory is "64 MB", where a quantity, as in 100m or 64Mi, is expected`,
		"resources:\n    limits: {memory: -1}":                         `:3: agent.resources.limits.memory is -1, where a quantity`,
		"resources: {requests: 3}":                                     `:2: agent.resources.requests is 3, where an object of quantities is expected`,
		"resources:\n    limits: {memory: 8Gi}":                        `:3: agent.resources.limits: memory of 8Gi is more than an agent gets: 2Gi`,
		"resources:\n    limits: {memory: 8Mi}":                        `:3: agent.resources.limits: memory of 8Mi is less than an agent can do with: 32Mi`,
		"resources:\n    limits: {nvidia.com/gpu: 1}":                  `:3: agent.resources.limits: an agent has use for cpu, memory and ephemeral-storage, and none for nvidia.com/gpu`,
		"resources: {requests: {cpu: 1}, limits: {cpu: 10m}}":          `:2: agent.resources.requests: of cpu more is asked for than agent.resources.limits allows`,
		"tolerations:\n  - key: a\n    operator: Exists\n  - {kye: a}": `:5: agent.tolerations[1] is an object, where a toleration of no more than key, operator (Exists or Equal)`,
		"tolerations: [{key: a, effect: Never}]":                       `:2: agent.tolerations[0] is an object, where a toleration of no more than key`,
		"tolerations: {key: a}":                                        `:2: agent.tolerations is an object, where a list of tolerations is expected`,
		"tolerations: [{operator: Exists, value: a}]":                  `:2: agent.tolerations[0]: operator Exists has no value`,
		"tolerations: [{value: a}]":                                    `:2: agent.tolerations[0]: without a key the operator is Exists`,
		"tolerations: [{key: a, tolerationSeconds: 3}]":                `:2: agent.tolerations[0]: tolerationSeconds goes with effect NoExecute`,
		"labels: {a b: c}":                                             `:2: agent.labels: Invalid value: "a b"`,
		"labels: {a: {b: c}}":                                          `:2: agent.labels.a is an object, where a string is expected`,
		"annotations: {understudy.dev/owner: c}":                       `:2: agent.annotations: understudy.dev/owner is understudy's own`,
		"node_selector: {a: b c}":                                      `:2: agent.node_selector: Invalid value: "b c"`,
		"priority_class: Very High":                                    `:2: agent.priority_class: Invalid value: "Very High"`,
		"image_pull_policy: always":                                    `:2: agent.image_pull_policy is "always", where one of Always, IfNotPresent, Never is expected`,
		"image_pull_secrets: [registry]":                               `:2: agent.image_pull_secrets[0] is "registry", where an object with a name is expected`,
		"security_context: {seccomp_profile: {type: Localhost}}":       `:2: agent.security_context.seccomp_profile: localhost_profile goes with type: Localhost`,
		"security_context: {privileged: true}":                         `:2: there is no key agent.security_context.privileged`,
	} {
		_, err := readAgent(t, "agent:\n  "+text+"\n")
		if !strings.Contains(errorText(err), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestAgentNotices: of whose pod a key is, and of whose it is not.
func TestAgentNotices(t *testing.T) {
	c, err := readAgent(t, wholeAgent+"  namespace: agents\n")
	if err != nil {
		t.Fatal(err)
	}
	const (
		chart   = " has no effect: the empty pod is made by the operator, as its chart says\n"
		onNode  = " has no effect: the agent on the node is made by the operator, as its chart says\n"
		cloned  = " has no effect: the stand-in has what the target's own pods have\n"
		placed  = " has no effect: the stand-in is placed as the target's own pods are\n"
		image   = " has no effect: the stand-in gets its agent from the image that the operator's chart names\n"
		alone   = "agent.namespace has no effect: it is for the agent of a freeze that no operator makes\n"
		pinned  = "agent.node_selector has no effect: the agent is on the target's node\nagent.tolerations has no effect: an agent on a node tolerates every taint\n"
		secured = "agent.security_context"
	)
	for name, test := range map[string]struct {
		target   string
		takeover Takeover
		operator bool
		want     string
	}{
		"without a target": {NoTarget, TakeoverNone, true, alone + "agent.service_account" + chart + "agent.image_pull_policy" + chart + "agent.image_pull_secrets" + chart + secured + chart},
		"attached": {"pod/w", TakeoverNone, true, alone + "agent.labels" + onNode + "agent.annotations" + onNode + pinned + "agent.priority_class" + onNode +
			"agent.service_account" + onNode + "agent.image_pull_policy" + onNode + "agent.image_pull_secrets" + onNode + secured + onNode},
		"a stand-in": {"deployment/w", TakeoverScaleDown, true, alone + "agent.labels" + cloned + "agent.annotations" + cloned + "agent.node_selector" + placed + "agent.tolerations" + placed +
			"agent.priority_class" + cloned + "agent.service_account" + cloned + "agent.image_pull_policy" + image + "agent.image_pull_secrets" + image + secured + cloned},
		"frozen by an operator": {"pod/w", TakeoverFreeze, true, alone + "agent.labels" + onNode + "agent.annotations" + onNode + pinned + "agent.priority_class" + onNode +
			"agent.service_account" + onNode + "agent.image_pull_policy" + onNode + "agent.image_pull_secrets" + onNode + secured + onNode},
		"frozen by no operator": {"pod/w", TakeoverFreeze, false, pinned},
	} {
		c.Target = test.target
		got := strings.Join(append(c.AgentNotices(test.takeover, test.operator), ""), "\n")
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
