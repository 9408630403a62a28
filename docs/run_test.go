package docs

import (
	"bytes"
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
// else: all but those that need an operator, a stage or a node.
var run = []string{"ls", "sessions", "end", "restore", "version", "doctor", "config", "completion"}

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
	var lines []typed
	for _, p := range pages(t) {
		for _, l := range p.lines() {
			if l.whole && strings.HasPrefix(l.line, "understudy ") {
				lines = append(lines, l)
			}
		}
	}
	lines = recorded(t, lines)
	seen := map[string]bool{}
	for _, l := range lines {
		words := l.words[1:]
		if len(words) == 0 || seen[strings.Join(words, " ")] || !slices.Contains(run, words[0]) && words[0] != "status" {
			continue
		}
		if slices.Contains(words, "-w") && words[0] == "sessions" {
			continue // it goes on until somebody ends it
		}
		seen[strings.Join(words, " ")] = true
		t.Run(strings.Join(words, " "), func(t *testing.T) {
			stock(t, reach)
			t.Chdir(repository(t))
			var out, err bytes.Buffer
			root := command.NewCmdRoot(&command.Factory{
				Out: &out, Err: &err, Environ: os.Environ(),
				Progress: func(config.Progress, bool) *progress.Printer { return progress.New(&err, progress.Options{}) },
			})
			root.SetArgs(words)
			// Of an API server without an operator doctor has something to say.
			if failed := root.ExecuteContext(t.Context()); failed != nil && (words[0] != "doctor" || failed.Error() != "") {
				t.Errorf("%s: %s: %v\n%s", l.page, l.line, failed, &err)
			}
			if out.Len()+err.Len() == 0 && !slices.Contains(words, "--write") {
				t.Errorf("%s: %s says nothing", l.page, l.line)
			}
		})
	}
	if len(seen) < 20 {
		t.Errorf("only %d were run", len(seen))
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

// stock makes what the pages speak of, where it is not there: in two namespaces
// a deployment, and the session of whoever runs the tests.
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
	_, err = kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{})
	must(err)
	for _, namespace := range []string{"default", "shop"} {
		labels := map[string]string{"app": "worker"}
		worker := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "worker"}}
		worker.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		worker.Spec.Template.Labels = labels
		worker.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: "x"}}
		_, err := kube.AppsV1().Deployments(namespace).Create(t.Context(), worker, metav1.CreateOptions{})
		must(err)
		worker, err = kube.AppsV1().Deployments(namespace).Get(t.Context(), "worker", metav1.GetOptions{})
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
