package docs

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/cli/command"
	"understudy.dev/understudy/cli/progress"
	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

func TestMain(m *testing.M) {
	stage.Main() // doctor tries whether a stage can be made, by this very program
	os.Exit(apitest.Main(m))
}

// run are the commands that can be run where there is an API server and nothing
// else, but for the node of those that thaw, which is played. An exec, which needs
// an operator and a stage, is planned: plan takes what exec takes.
var run = []string{"ls", "sessions", "end", "plan", "exec", "restore", "thaw", "version", "doctor", "config", "completion"}

// says are those whose exit code says what was found, where nothing failed.
var says = []string{"doctor", "plan"}

// TestRun: every example of a command that needs no more than an API server is
// run against one, beside a mirrord.json, in a cluster that has what the pages
// speak of.
func TestRun(t *testing.T) {
	reach := apitest.Config(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	raw := clientcmdapi.NewConfig()
	raw.Clusters["c"] = &clientcmdapi.Cluster{Server: reach.Host, CertificateAuthorityData: reach.CAData}
	raw.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: reach.CertData, ClientKeyData: reach.KeyData}
	raw.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: "default"}
	raw.CurrentContext = "c"
	if err := clientcmd.WriteToFile(*raw, kubeconfig); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	playNode(t, reach)
	var lines []typed
	for _, p := range pages(t) {
		for _, l := range p.lines() {
			if l.whole && strings.HasPrefix(l.line, "understudy ") {
				lines = append(lines, l)
			}
		}
	}
	lines = recorded(t, lines)
	seen, commands := map[string]bool{}, map[string]bool{}
	for _, l := range lines {
		words := slices.Clone(l.words[1:])
		if len(words) == 0 || seen[strings.Join(words, " ")] || !slices.Contains(run, words[0]) && words[0] != "status" {
			continue
		}
		if slices.Contains(words, "-w") && words[0] == "sessions" {
			continue // it goes on until somebody ends it
		}
		seen[strings.Join(words, " ")], commands[words[0]] = true, true
		if words[0] == "exec" { // what it shows is meant without a file, or names one
			words = append([]string{"plan", "-f", "none"}, words[1:]...)
		}
		t.Run(strings.Join(words, " "), func(t *testing.T) {
			stock(t, reach)
			t.Chdir(repository(t))
			var out, err bytes.Buffer
			root := command.NewCmdRoot(&command.Factory{
				Out: &out, Err: &err, Environ: os.Environ(),
				Progress: func(config.Progress, bool) *progress.Printer { return progress.New(&err, progress.Options{}) },
			})
			root.SetArgs(words)
			// Of an API server without an operator they have something to say.
			if failed := root.ExecuteContext(t.Context()); failed != nil && (!slices.Contains(says, words[0]) || failed.Error() != "") {
				t.Errorf("%s: %s: %v\n%s", l.page, l.line, failed, &err)
			}
			if out.Len()+err.Len() == 0 && !slices.Contains(words, "--write") {
				t.Errorf("%s: %s says nothing", l.page, l.line)
			}
		})
	}
	if len(seen) < 30 {
		t.Errorf("only %d were run", len(seen))
	}
	for _, name := range run {
		if !commands[name] {
			t.Errorf("no page has an example of %s", name)
		}
	}
}

// repository has a file as mirrord's users have it.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	text := `{
  // the team's
  "agent": {"log_level": "info"},
  "feature": {"copy_target": {"scale_down": true}},
  "target": "deployment/worker",
}
`
	if err := os.MkdirAll(filepath.Join(dir, ".mirrord"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".mirrord/mirrord.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// playNode has the agent that only thaws end, as on a node on which nothing is
// frozen, until the test is over.
func playNode(t *testing.T, reach *rest.Config) {
	kube, err := kubernetes.NewForConfig(reach)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := kube.CoreV1().Pods(agents).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for event := range watch.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok || event.Type != "ADDED" {
				continue
			}
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
				Name: pod.Spec.Containers[0].Name, Image: "x", ImageID: "x",
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: "nothing is frozen"}},
			}}
			if _, err := kube.CoreV1().Pods(agents).UpdateStatus(context.Background(), pod, metav1.UpdateOptions{}); err != nil {
				t.Errorf("playing the node: %v", err)
			}
		}
	}()
	t.Cleanup(func() { watch.Stop(); <-over })
}

// agents is the namespace of those on nodes.
const agents = "understudy-agents"

// stock makes what the pages speak of, where it is not there: in two namespaces
// deployments, and the session of whoever runs the tests; a pod on a node, and what
// the operator's deployment says of agents.
func stock(t *testing.T, reach *rest.Config) {
	t.Helper()
	kube, err := kubernetes.NewForConfig(reach)
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	sessions, err := client.New(reach, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	for _, namespace := range []string{"shop", "understudy", agents} {
		_, err = kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
		must(err)
	}
	deploy := func(namespace, name string, labels map[string]string, args ...string) {
		t.Helper()
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
		d.Spec.Template.Labels = map[string]string{"app": name}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: "x", Args: args}}
		_, err := kube.AppsV1().Deployments(namespace).Create(t.Context(), d, metav1.CreateOptions{})
		must(err)
	}
	deploy("understudy", "understudy-operator", map[string]string{"app.kubernetes.io/name": "understudy", "app.kubernetes.io/component": "operator"},
		"--agent-image=registry.example/agent:1", "--agents-namespace="+agents)
	_, err = kube.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}, metav1.CreateOptions{})
	must(err)
	pod := func(namespace, name string, owners ...metav1.OwnerReference) {
		t.Helper()
		made := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: owners}}
		made.Spec = corev1.PodSpec{NodeName: "node-1", AutomountServiceAccountToken: new(bool), Containers: []corev1.Container{{Name: "app", Image: "x"}}}
		made, err := kube.CoreV1().Pods(namespace).Create(t.Context(), made, metav1.CreateOptions{})
		if must(err); err == nil {
			made.Status.Phase = corev1.PodRunning
			_, err = kube.CoreV1().Pods(namespace).UpdateStatus(t.Context(), made, metav1.UpdateOptions{})
			must(err)
		}
	}
	pod("shop", "worker-0")
	for _, namespace := range []string{"default", "shop"} {
		for _, name := range []string{"worker", "orders", "web"} {
			deploy(namespace, name, nil)
		}
		web, err := kube.AppsV1().Deployments(namespace).Get(t.Context(), "web", metav1.GetOptions{})
		must(err)
		pod(namespace, "web-x", *metav1.NewControllerRef(web, appsv1.SchemeGroupVersion.WithKind("Deployment")))
		worker, err := kube.AppsV1().Deployments(namespace).Get(t.Context(), "worker", metav1.GetOptions{})
		must(err)
		must(sessions.Create(t.Context(), &v1alpha1.Session{
			ObjectMeta: metav1.ObjectMeta{Name: "worker-x7k2p", Namespace: namespace},
			Spec: v1alpha1.SessionSpec{
				Target:   v1alpha1.Target{Group: "apps", Resource: "deployments", Name: "worker", UID: worker.UID, Container: "app"},
				Takeover: v1alpha1.TakeoverScaleDown, Owner: v1alpha1.Owner{Username: "admin", Hostname: "laptop"}, ClientKey: "AAAA",
			},
		}))
	}
}
