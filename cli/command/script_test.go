package command

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
)

// withAPIServer runs the package's tests beside a real API server.
type withAPIServer struct{ *testing.M }

func (m withAPIServer) Run() int { return apitest.Main(m.M) }

func TestMain(m *testing.M) {
	// The scripts call this very program by the name understudy.
	understudy := func() {
		stage.Main()
		Version = os.Getenv("TEST_RELEASE") // as the linker sets it
		os.Exit(Main(os.Args[1:]))
	}
	testscript.Main(withAPIServer{m}, map[string]func(){"understudy": understudy, pluginName: understudy, completionName: understudy})
}

// TestScript: the command line as a whole, where no cluster is needed.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// TestScriptCluster: the command line against a real API server to which the chart
// was applied, and whose operator does not run.
func TestScriptCluster(t *testing.T) {
	client := newKube(t)
	if err := installPolicy(t.Context(), client, nil); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	runScripts(t, client, "testdata/cluster")
}

// TestScriptUninstalled: the same where the chart was taken away again; its resources
// have stayed, as Helm leaves them.
func TestScriptUninstalled(t *testing.T) {
	client := newKube(t)
	err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Delete(t.Context(), policyName, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	runScripts(t, client, "testdata/uninstalled")
}

// TestScriptIdle: the same where the chart is installed and the operator that it says
// there is cannot be found.
func TestScriptIdle(t *testing.T) {
	client := newKube(t)
	policies := client.AdmissionregistrationV1().ValidatingAdmissionPolicies()
	remove := func(ctx context.Context) {
		if err := policies.Delete(ctx, policyName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	remove(t.Context())
	if err := installPolicy(t.Context(), client, map[string]string{v1alpha1.OperatorNamespaceAnnotation: "nowhere"}); err != nil {
		t.Fatal(err)
	}
	// The other scripts have an operator of which nobody knows where it is.
	t.Cleanup(func() { remove(context.Background()) })
	runScripts(t, client, "testdata/idle")
}

func newKube(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(apitest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// runScripts runs those of a folder, each of which stands alone: what several speak
// of is made here, everything else is in a namespace, or of a name, of a script's own.
func runScripts(t *testing.T, client *kubernetes.Clientset, dir string) {
	t.Helper()
	config := apitest.Config(t)
	for _, object := range []*appsv1.Deployment{deployment("worker", "app"), deployment("orders", "proxy", "app"), deployment("queued", "app"), deployment("encore", "app")} {
		if _, err := client.AppsV1().Deployments("default").Create(t.Context(), object, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"apply": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(apply(t.Context(), config, ts.ReadFile(args[0])))
			},
			"make-session": func(ts *testscript.TestScript, _ bool, args []string) {
				of := "worker" // or a Deployment that no other script knows
				if len(args) > 2 {
					of = args[2]
				}
				ts.Check(makeSession(t.Context(), client, args[0], args[1], of))
			},
			"hold": func(ts *testscript.TestScript, _ bool, args []string) {
				replicas, err := strconv.Atoi(args[2])
				ts.Check(err)
				ts.Check(hold(t.Context(), client, args[0], args[1], int32(replicas)))
			},
			"operator-ends": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(sessionOf(t.Context(), client, args[0], metav1.Condition{
					Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: args[1], Message: args[2],
				}))
			},
			"queue-sessions": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(queueSessions(t.Context(), client, args[0], args[1]))
			},
			"sessions-of": func(ts *testscript.TestScript, _ bool, args []string) {
				sessions, err := listSessions(t.Context(), client)
				ts.Check(err)
				for _, session := range sessions {
					if session.Spec.Target.Name == args[0] {
						ts.Fatalf("session %s is still there", session.Name)
					}
				}
			},
		},
		Setup: func(env *testscript.Env) error {
			file := filepath.Join(env.WorkDir, "kubeconfig")
			env.Setenv("KUBECONFIG", file)
			raw := clientcmdapi.NewConfig()
			raw.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
			raw.Clusters["away"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
			raw.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}
			raw.AuthInfos["ada"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Impersonate: "ada"}
			raw.AuthInfos["joan"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Impersonate: "joan"}
			raw.Contexts["joan"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "joan", Namespace: "default"}
			raw.Contexts["admin"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "admin", Namespace: "default"}
			raw.Contexts["ada"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "ada", Namespace: "default"}
			raw.Contexts["away"] = &clientcmdapi.Context{Cluster: "away", AuthInfo: "admin"}
			raw.CurrentContext = "admin"
			raw.AuthInfos["stranger"] = &clientcmdapi.AuthInfo{Token: "expired"}
			raw.Contexts["stranger"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "stranger", Namespace: "default"}
			for name, mode := range map[string]clientcmdapi.ExecInteractiveMode{
				"may-ask": clientcmdapi.IfAvailableExecInteractiveMode, "asks": clientcmdapi.AlwaysExecInteractiveMode,
			} {
				raw.AuthInfos[name] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
					APIVersion: "client.authentication.k8s.io/v1", Command: filepath.Join(env.WorkDir, "plugin"), InteractiveMode: mode,
				}}
				raw.Contexts[name] = &clientcmdapi.Context{Cluster: "c", AuthInfo: name, Namespace: "default"}
			}
			credential, err := json.Marshal(map[string]any{
				"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
				"status": map[string]string{"clientCertificateData": string(config.CertData), "clientKeyData": string(config.KeyData)},
			})
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(env.WorkDir, "credential.json"), credential, 0o600); err != nil {
				return err
			}
			return clientcmd.WriteToFile(*raw, file)
		},
	})
}

// makeSession makes a session of that owner for a Deployment, of which nobody
// takes notice.
func makeSession(ctx context.Context, client *kubernetes.Clientset, name, owner, of string) error {
	session := v1alpha1.Session{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.SessionSpec{
			Target:   v1alpha1.Target{Group: "apps", Resource: "deployments", Name: of, UID: "uid", Container: "app"},
			Takeover: v1alpha1.TakeoverScaleDown, Owner: v1alpha1.Owner{Username: owner, Hostname: "laptop"}, ClientKey: "AAAA",
		},
	}
	body, err := json.Marshal(session)
	if err != nil {
		return err
	}
	return client.RESTClient().Post().AbsPath(sessionsPath).Body(body).Do(ctx).Error()
}

// hold brings a Deployment to zero with a claim on it that remembers the number, as
// an operator does that is gone since.
func hold(ctx context.Context, client kubernetes.Interface, namespace, name string, replicas int32) error {
	deployments := client.AppsV1().Deployments(namespace)
	held, err := deployments.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	claim := v1alpha1.NewClaim(held.UID, "gone", name+"-gone", "jane", replicas, time.Now())
	held.Annotations = map[string]string{v1alpha1.ClaimAnnotation: claim.String()}
	held.Spec.Replicas = ptr.To(int32(0))
	_, err = deployments.Update(ctx, held, metav1.UpdateOptions{})
	return err
}

// sessionOf waits for the session of a target and says of it what an operator
// does.
func sessionOf(ctx context.Context, client *kubernetes.Clientset, target string, says ...metav1.Condition) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		sessions, err := listSessions(ctx, client)
		i := slices.IndexFunc(sessions, func(s v1alpha1.Session) bool { return s.Spec.Target.Name == target })
		if err != nil || i < 0 {
			return false, err
		}
		session := sessions[i]
		session.Status.ObservedGeneration = session.Generation
		for _, condition := range says {
			meta.SetStatusCondition(&session.Status.Conditions, condition)
		}
		body, err := json.Marshal(session)
		if err != nil {
			return false, err
		}
		return true, client.RESTClient().Put().AbsPath(sessionsPath, session.Name, "status").Body(body).Do(ctx).Error()
	})
}

// queueSessions waits until there is a session that waits for a deployment, and
// says of it what an operator does: it is the third, behind that owner.
func queueSessions(ctx context.Context, client *kubernetes.Clientset, target, holder string) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		sessions, err := listSessions(ctx, client)
		for _, session := range sessions {
			if !session.Spec.Wait || session.Spec.Target.Name != target {
				continue
			}
			session.Status.ObservedGeneration = session.Generation
			session.Status.Queue = &v1alpha1.Queue{Place: 3, Holder: holder, Session: target + "-first", Since: "2026-01-02T03:04:05Z"}
			body, err := json.Marshal(session)
			if err != nil {
				return false, err
			}
			return true, client.RESTClient().Put().AbsPath(sessionsPath, session.Name, "status").Body(body).Do(ctx).Error()
		}
		return false, err
	})
}

const sessionsPath = "/apis/understudy.dev/v1alpha1/namespaces/default/sessions"

func listSessions(ctx context.Context, client *kubernetes.Clientset) ([]v1alpha1.Session, error) {
	body, err := client.RESTClient().Get().AbsPath(sessionsPath).Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	var sessions v1alpha1.SessionList
	return sessions.Items, json.Unmarshal(body, &sessions)
}

const policyName = "understudy-sessions"

// installPolicy makes the policy by which an operator is known, as the chart
// does, with these annotations more; it binds nobody.
func installPolicy(ctx context.Context, client kubernetes.Interface, more map[string]string) error {
	fail := admissionregistrationv1.Fail
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{
			Name: policyName, Labels: map[string]string{"app.kubernetes.io/version": "0.9.0"},
			Annotations: map[string]string{
				v1alpha1.OperatorImageAnnotation:     "registry.example.com/operator:0.9.0",
				v1alpha1.AgentImageAnnotation:        "registry.example.com/agent:0.9.0",
				v1alpha1.OperatorWorkloadsAnnotation: "scaledobjects.keda.sh,scaledjobs.keda.sh,caches.example.com",
			},
		},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{"understudy.dev"}, APIVersions: []string{"v1alpha1"}, Resources: []string{"sessions"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{Expression: "true"}},
		},
	}
	maps.Copy(policy.Annotations, more)
	_, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{})
	return err
}

func deployment(name string, containers ...string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	for _, c := range containers {
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{Name: c, Image: "x"})
	}
	return d
}
