package chart

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

var update = flag.Bool("update", false, "write the golden file and the chart README's table of values")

const golden = "testdata/default.golden.yaml"

func TestDefaultRender(t *testing.T) {
	out, err := helm(t, append([]string{"template", releaseName, chartDir}, modern...)...)
	if err != nil {
		t.Fatal(err)
	}
	// The resource's definition is generated and has its own check.
	all := strings.Split(out, "\n---\n")
	all = slices.DeleteFunc(all, func(text string) bool { return strings.Contains(text, "kind: CustomResourceDefinition") })
	got := strings.Join(all, "\n---\n")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the default render is not the golden file; if that is meant, go test ./test/chart -run TestDefaultRender -update:\n%s", diff)
	}
}

func TestLint(t *testing.T) {
	if out, err := helm(t, "lint", "--strict", chartDir); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEveryObjectBearsTheLabels(t *testing.T) {
	all, err := render(t, append(modern, "--set", "operator.replicas=2")...)
	if err != nil {
		t.Fatal(err)
	}
	for key, object := range all {
		labels := object.GetLabels()
		for name, want := range map[string]string{
			"app.kubernetes.io/name": "understudy", "app.kubernetes.io/instance": releaseName,
			"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/part-of": "understudy",
		} {
			if labels[name] != want {
				t.Errorf("%s has label %s=%q, want %q", key, name, labels[name], want)
			}
		}
		for _, name := range []string{"app.kubernetes.io/version", "app.kubernetes.io/component", "helm.sh/chart"} {
			if labels[name] == "" {
				t.Errorf("%s has no label %s", key, name)
			}
		}
	}
}

func TestValuesChangeWhatIsRendered(t *testing.T) {
	const digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	for _, test := range []struct {
		name string
		args []string
		see  func(*testing.T, objects)
	}{
		{
			name: "an image by tag", args: []string{"--set", "image.repository=example.com/op,image.tag=v9,image.pullPolicy=Never"},
			see: func(t *testing.T, o objects) {
				for _, c := range []corev1.Container{operator(t, o).Containers[0], drainJob(t, o).Containers[0]} {
					if c.Image != "example.com/op:v9" || c.ImagePullPolicy != corev1.PullNever {
						t.Errorf("%s runs image %s, pulled %s", c.Name, c.Image, c.ImagePullPolicy)
					}
				}
			},
		},
		{
			name: "images by digest", args: []string{"--set", "image.digest=" + digest + ",agent.image.digest=" + digest + ",agent.image.tag=v9"},
			see: func(t *testing.T, o objects) {
				if got, want := operator(t, o).Containers[0].Image, "understudy.dev/understudy-operator@"+digest; got != want {
					t.Errorf("image %s, want %s", got, want)
				}
				hasArg(t, o, "--agent-image=understudy.dev/understudy-agent@"+digest)
			},
		},
		{
			name: "the agent", args: []string{"--set", "agent.image.repository=example.com/agent,agent.image.tag=v9,agent.image.pullPolicy=Never,agent.delivery=init"},
			see: func(t *testing.T, o objects) {
				hasArg(t, o, "--agent-image=example.com/agent:v9")
				hasArg(t, o, "--agent-image-pull-policy=Never")
				hasArg(t, o, "--agent-delivery=init")
			},
		},
		{
			name: "several operators", args: []string{"--set", "operator.replicas=2"},
			see: func(t *testing.T, o objects) {
				hasArg(t, o, "--leader-elect=true")
				if o["PodDisruptionBudget/understudy-operator"] == nil {
					t.Error("two operators have no PodDisruptionBudget")
				}
			},
		},
		{
			name: "one operator",
			see: func(t *testing.T, o objects) {
				if o["PodDisruptionBudget/understudy-operator"] != nil {
					t.Error("one operator has a PodDisruptionBudget, which would block drains")
				}
			},
		},
		{
			name: "no leader election", args: []string{"--set", "operator.leaderElection=false"},
			see: func(t *testing.T, o objects) {
				hasArg(t, o, "--leader-elect=false")
				if got := into[appsv1.Deployment](t, o, "Deployment/understudy-operator").Spec.Strategy.Type; got != appsv1.RecreateDeploymentStrategyType {
					t.Errorf("without leader election the strategy is %q, so that two would run at once", got)
				}
				if o["Role/understudy-operator"] != nil {
					t.Error("without leader election there is its Role")
				}
			},
		},
		{
			name: "where it runs",
			args: []string{
				"--set", "operator.nodeSelector.disk=ssd,operator.priorityClassName=high,operator.podLabels.team=a,operator.podAnnotations.note=b",
				"--set", "operator.tolerations[0].key=dedicated,operator.tolerations[0].operator=Exists,imagePullSecrets[0].name=registry",
			},
			see: func(t *testing.T, o objects) {
				spec := operator(t, o)
				if spec.NodeSelector["disk"] != "ssd" || spec.PriorityClassName != "high" ||
					len(spec.Tolerations) != 1 || spec.Tolerations[0].Key != "dedicated" || spec.ImagePullSecrets[0].Name != "registry" {
					t.Errorf("pod spec: %+v", spec)
				}
				meta := into[appsv1.Deployment](t, o, "Deployment/understudy-operator").Spec.Template
				if meta.Labels["team"] != "a" || meta.Annotations["note"] != "b" {
					t.Errorf("pod labels %v, annotations %v", meta.Labels, meta.Annotations)
				}
				if job := drainJob(t, o); job.NodeSelector["disk"] != "ssd" || len(job.Tolerations) != 1 || len(job.ImagePullSecrets) != 1 {
					t.Errorf("the drain's pod spec: %+v", job)
				}
			},
		},
		{
			name: "ports", args: []string{"--set", "metrics.port=9090,health.port=9091,metrics.service=false"},
			see: func(t *testing.T, o objects) {
				hasArg(t, o, "--metrics-bind-address=:9090")
				hasArg(t, o, "--health-probe-bind-address=:9091")
				if o["Service/understudy-operator-metrics"] != nil {
					t.Error("there is a Service for the metrics")
				}
			},
		},
		{
			name: "no resource definition", args: []string{"--set", "crd.install=false"},
			see: func(t *testing.T, o objects) {
				if o["CustomResourceDefinition/sessions.understudy.dev"] != nil {
					t.Error("it is rendered")
				}
			},
		},
		{
			name: "user roles given to the built-in ones", args: []string{"--set", "userRoles.aggregate=true"},
			see: func(t *testing.T, o objects) {
				if o["ClusterRole/understudy-user"].GetLabels()["rbac.authorization.k8s.io/aggregate-to-edit"] != "true" ||
					o["ClusterRole/understudy-admin"].GetLabels()["rbac.authorization.k8s.io/aggregate-to-admin"] != "true" {
					t.Error("the roles are not aggregated")
				}
			},
		},
		{
			name: "no user roles", args: []string{"--set", "userRoles.create=false"},
			see: func(t *testing.T, o objects) {
				if o["ClusterRole/understudy-user"] != nil || o["ClusterRole/understudy-admin"] != nil {
					t.Error("there are user roles")
				}
			},
		},
		{
			name: "no drain", args: []string{"--set", "drain.enabled=false"},
			see: func(t *testing.T, o objects) {
				for key, object := range o {
					if object.GetAnnotations()["helm.sh/hook"] != "" {
						t.Errorf("%s is a hook", key)
					}
				}
			},
		},
		{
			name: "the drain's time", args: []string{"--set", "drain.timeoutSeconds=60"},
			see: func(t *testing.T, o objects) {
				job := into[batchv1.Job](t, o, "Job/understudy-drain")
				if got := job.Spec.Template.Spec.Containers[0].Args; !slices.Equal(got, []string{"drain", "--timeout=60s"}) {
					t.Errorf("args %v", got)
				}
				if got := *job.Spec.ActiveDeadlineSeconds; got <= 60 {
					t.Errorf("the Job ends after %d s, before its program", got)
				}
			},
		},
		{
			name: "the gate switched off", args: []string{"--set", "holdGate.mode=off"},
			see: func(t *testing.T, o objects) {
				if o["MutatingAdmissionPolicy/understudy-hold"] != nil || o["MutatingAdmissionPolicyBinding/understudy-hold"] != nil {
					t.Error("the gate is there")
				}
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := render(t, append(test.args, modern...)...)
			if err != nil {
				t.Fatal(err)
			}
			test.see(t, o)
		})
	}
}

func TestHoldGateIsRenderedInTheServersVersion(t *testing.T) {
	const policy = "MutatingAdmissionPolicy/understudy-hold"
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{name: "1.36 on", args: modern, want: "admissionregistration.k8s.io/v1"},
		{
			name: "beta, switched on", want: "admissionregistration.k8s.io/v1beta1",
			args: []string{"--kube-version=1.34.0", "--api-versions=admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy"},
		},
		{name: "older", args: []string{"--kube-version=1.33.0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := render(t, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if o[policy] != nil {
				got = o[policy].GetAPIVersion()
			}
			if got != test.want {
				t.Errorf("the gate has version %q, want %q", got, test.want)
			}
		})
	}
}

func TestValuesThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{name: "a misspelt one", args: []string{"--set", "operater.replicas=2"}, want: "operater"},
		{name: "a misspelt one further down", args: []string{"--set", "operator.replica=2"}, want: "replica"},
		{name: "a delivery that is none", args: []string{"--set", "agent.delivery=ftp"}, want: "delivery"},
		{name: "no operator", args: []string{"--set", "operator.replicas=0"}, want: "replicas"},
		{name: "a digest that is none", args: []string{"--set", "image.digest=latest"}, want: "digest"},
		{name: "a privileged port", args: []string{"--set", "metrics.port=80"}, want: "port"},
		{name: "a label that selects pods", args: []string{"--set", `operator.podLabels.app\.kubernetes\.io/name=x`}, want: "podLabels"},
		{
			name: "two operators that do not know of each other", want: "operator.leaderElection must be true",
			args: []string{"--set", "operator.replicas=2,operator.leaderElection=false"},
		},
		{
			name: "a gate that the server has not", want: "this API server has no MutatingAdmissionPolicy",
			args: []string{"--set", "holdGate.mode=on", "--kube-version=1.33.0"},
		},
		{
			name: "a selector's operator", want: "operator",
			args: []string{"--set", "sessions.namespaceSelector.matchExpressions[0].key=a,sessions.namespaceSelector.matchExpressions[0].operator=Like"},
		},
		{
			name: "a selector that would be an expression", want: "namespaceSelector",
			args: []string{"--set-string", `sessions.namespaceSelector.matchLabels.team=a" || true || "`},
		},
		{name: "a server without admission policies", args: []string{"--kube-version=1.29.0"}, want: "kubeVersion"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := render(t, test.args...)
			check(t, err, test.want)
		})
	}
}

// TestTheOperatorsRights pins what must never be among them.
func TestTheOperatorsRights(t *testing.T) {
	o, err := render(t, modern...)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"ClusterRole/understudy-operator", "ClusterRole/understudy-drain", "ClusterRole/understudy-user", "ClusterRole/understudy-admin"} {
		for _, rule := range into[rbacv1.ClusterRole](t, o, key).Rules {
			for _, words := range [][]string{rule.Verbs, rule.Resources, rule.APIGroups} {
				for _, word := range []string{"*", "escalate", "bind", "impersonate", "pods/exec", "pods/attach", "serviceaccounts/token"} {
					if slices.Contains(words, word) {
						t.Errorf("%s has %q: %v", key, word, rule)
					}
				}
			}
			if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.Verbs, []string{"create", "delete"}) {
				t.Errorf("%s may %v secrets", key, rule.Verbs)
			}
			if slices.Contains(rule.Resources, "configmaps") {
				t.Errorf("%s may %v config maps", key, rule.Verbs)
			}
		}
	}
}

func TestPodsAreRestricted(t *testing.T) {
	o, err := render(t, modern...)
	if err != nil {
		t.Fatal(err)
	}
	for name, spec := range map[string]corev1.PodSpec{"operator": operator(t, o), "drain": drainJob(t, o)} {
		pod, c := spec.SecurityContext, spec.Containers[0].SecurityContext
		if !*pod.RunAsNonRoot || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
			*c.AllowPrivilegeEscalation || !*c.ReadOnlyRootFilesystem || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s is not restricted: %+v %+v", name, pod, c)
		}
	}
}

// TestPoliciesFailAsTheyMust: the ones that guard fail closed, the gate fails open.
func TestPoliciesFailAsTheyMust(t *testing.T) {
	o, err := render(t, modern...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"understudy-sessions", "understudy-operator", "understudy-draining"} {
		policy := into[admissionregistrationv1.ValidatingAdmissionPolicy](t, o, "ValidatingAdmissionPolicy/"+name)
		if *policy.Spec.FailurePolicy != admissionregistrationv1.Fail {
			t.Errorf("%s fails open", name)
		}
		binding := into[admissionregistrationv1.ValidatingAdmissionPolicyBinding](t, o, "ValidatingAdmissionPolicyBinding/"+name)
		if binding.Spec.PolicyName != name || binding.Spec.MatchResources != nil ||
			!slices.Equal(binding.Spec.ValidationActions, []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny}) {
			t.Errorf("%s is bound so that it does not deny everywhere: %+v", name, binding.Spec)
		}
	}
	gate := into[admissionregistrationv1.MutatingAdmissionPolicy](t, o, "MutatingAdmissionPolicy/understudy-hold")
	if *gate.Spec.FailurePolicy != admissionregistrationv1.Ignore {
		t.Error("the hold gate fails closed: broken, it would stop every rollout")
	}
	binding := into[admissionregistrationv1.MutatingAdmissionPolicyBinding](t, o, "MutatingAdmissionPolicyBinding/understudy-hold")
	if *binding.Spec.ParamRef.ParameterNotFoundAction != admissionregistrationv1.AllowAction {
		t.Error("the hold gate refuses where there is no session")
	}
}

func operator(t *testing.T, o objects) corev1.PodSpec {
	t.Helper()
	return into[appsv1.Deployment](t, o, "Deployment/understudy-operator").Spec.Template.Spec
}

func drainJob(t *testing.T, o objects) corev1.PodSpec {
	t.Helper()
	return into[batchv1.Job](t, o, "Job/understudy-drain").Spec.Template.Spec
}

func hasArg(t *testing.T, o objects, want string) {
	t.Helper()
	if args := operator(t, o).Containers[0].Args; !slices.Contains(args, want) {
		t.Errorf("the operator has no argument %s: %v", want, args)
	}
}
