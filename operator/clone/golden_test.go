package clone

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scenario is one file of testdata: the target, what else is in its namespace,
// and the options, as documents of one YAML stream.
type scenario struct {
	source   Source
	template corev1.PodTemplateSpec
	options  Options
}

// asked is the document of kind Options.
type asked struct {
	metav1.TypeMeta       `json:",inline"`
	Container             string                 `json:"container,omitempty"`
	Delivery              v1alpha1.AgentDelivery `json:"delivery,omitempty"`
	AgentPullPolicy       corev1.PullPolicy      `json:"agentPullPolicy,omitempty"`
	TakesTraffic          bool                   `json:"takesTraffic,omitempty"`
	ExcludeContainers     []string               `json:"excludeContainers,omitempty"`
	ExcludeInitContainers []string               `json:"excludeInitContainers,omitempty"`
	ListenPorts           []int32                `json:"listenPorts,omitempty"`
}

// someOptions are enough for a stand-in.
func someOptions() Options {
	return Options{
		SessionName: "worker-x7k2p",
		SessionUID:  "5e551000-0000-4000-8000-000000000001",
		PodName:     "worker-x7k2p-standin-1",
		SecretName:  "worker-x7k2p-agent-1",
		AgentImage:  "registry.example/understudy-agent:0.1",
	}
}

func readScenario(t testing.TB, path string) scenario {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := scenario{options: someOptions()}
	var policies []networkingv1.NetworkPolicy
	var budgets []policyv1.PodDisruptionBudget
	for _, document := range strings.Split(string(data), "\n---\n") {
		var kind metav1.TypeMeta
		into(t, document, &kind, false)
		switch kind.Kind {
		case "Deployment":
			var deployment appsv1.Deployment
			into(t, document, &deployment, true)
			s.template = deployment.Spec.Template
			s.source = FromTemplate(deployment.Namespace, s.template)
		case "StatefulSet":
			var set appsv1.StatefulSet
			into(t, document, &set, true)
			s.source = FromStatefulSet(&set)
			s.template = s.source.template
		case "Job":
			var job batchv1.Job
			into(t, document, &job, true)
			s.template = job.Spec.Template
			s.source = FromTemplate(job.Namespace, s.template)
		case "Pod":
			var pod corev1.Pod
			into(t, document, &pod, true)
			s.source = FromPod(&pod)
			s.template = corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
		case "Nothing":
			nothing := metav1.PartialObjectMetadata{}
			into(t, document, &nothing, true)
			// Its pull policy comes with the options.
			s.options.AgentPullPolicy = corev1.PullAlways
			s.source = FromNothing(nothing.Namespace, s.options)
			s.template = s.source.template
		case "Service":
			s.options.Services = append(s.options.Services, corev1.Service{})
			into(t, document, &s.options.Services[len(s.options.Services)-1], true)
		case "LimitRange":
			s.options.LimitRanges = append(s.options.LimitRanges, corev1.LimitRange{})
			into(t, document, &s.options.LimitRanges[len(s.options.LimitRanges)-1], true)
		case "PersistentVolumeClaim":
			s.options.Claims = append(s.options.Claims, corev1.PersistentVolumeClaim{})
			into(t, document, &s.options.Claims[len(s.options.Claims)-1], true)
		case "NetworkPolicy":
			policies = append(policies, networkingv1.NetworkPolicy{})
			into(t, document, &policies[len(policies)-1], true)
		case "PodDisruptionBudget":
			budgets = append(budgets, policyv1.PodDisruptionBudget{})
			into(t, document, &budgets[len(budgets)-1], true)
		case "Options":
			var a asked
			into(t, document, &a, true)
			s.options.Container, s.options.Delivery, s.options.AgentPullPolicy = a.Container, a.Delivery, a.AgentPullPolicy
			s.options.TakesTraffic, s.options.ListenPorts = a.TakesTraffic, a.ListenPorts
			s.options.ExcludeContainers, s.options.ExcludeInitContainers = a.ExcludeContainers, a.ExcludeInitContainers
		default:
			t.Fatalf("%s has a document of unknown kind %q", path, kind.Kind)
		}
	}
	s.options.Selectors = SelectorsOf(policies, budgets)
	return s
}

func into(t testing.TB, document string, object any, strict bool) {
	t.Helper()
	decode := func(data []byte, object any) error { return yaml.Unmarshal(data, object) }
	if strict {
		decode = func(data []byte, object any) error { return yaml.UnmarshalStrict(data, object) }
	}
	if err := decode([]byte(document), object); err != nil {
		t.Fatalf("decoding %T: %v\n%s", object, err, document)
	}
}

// scenarios calls a function with each file of testdata.
func scenarios(t *testing.T, call func(t *testing.T, path string)) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, path := range paths {
		if strings.HasSuffix(path, ".golden.yaml") {
			continue
		}
		ran++
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) { call(t, path) })
	}
	if ran == 0 {
		t.Fatal("testdata has no scenario")
	}
}

func TestGolden(t *testing.T) {
	scenarios(t, func(t *testing.T, path string) {
		s := readScenario(t, path)
		pod, report, err := StandIn(s.source, s.options)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		for _, part := range []any{pod, report} {
			data, err := yaml.Marshal(part)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&got, "---\n%s", data)
		}
		golden := strings.TrimSuffix(path, ".yaml") + ".golden.yaml"
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("the stand-in is not the golden one (-want +got); go test -update writes it anew:\n%s", diff)
		}
	})
}
