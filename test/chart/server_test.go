package chart

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

const operatorUser = "system:serviceaccount:" + releaseNamespace + ":understudy-operator"

// server is one API server with the chart installed, for all tests.
type server struct {
	config     *rest.Config
	kubeconfig string
	dir        string
	env        *envtest.Environment
}

var (
	shared     *server
	startOnce  sync.Once
	startError error
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	code := m.Run()
	if shared != nil {
		if err := shared.env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
			code = 1
		}
		_ = os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// installed returns the server with the chart in its default state.
func installed(t *testing.T) *server {
	t.Helper()
	assets := filepath.Dir(program(t, "kube-apiserver"))
	program(t, "etcd")
	startOnce.Do(func() { shared, startError = start(t, assets) })
	if startError != nil {
		t.Fatal(startError)
	}
	return shared
}

func start(t *testing.T, assets string) (*server, error) {
	s := &server{env: &envtest.Environment{BinaryAssetsDirectory: assets}}
	var err error
	if s.config, err = s.env.Start(); err != nil {
		return nil, fmt.Errorf("starting the API server: %w", err)
	}
	s.config.QPS, s.config.Burst = -1, -1
	if s.dir, err = os.MkdirTemp("", "understudy-chart"); err != nil {
		return s, err
	}
	s.kubeconfig = filepath.Join(s.dir, "kubeconfig")
	if err := clientcmd.WriteToFile(kubeconfig(s.config), s.kubeconfig); err != nil {
		return s, fmt.Errorf("writing a kubeconfig for helm: %w", err)
	}
	if out, err := s.helm(t, "install", releaseName, chartDir, "--create-namespace", "--set", "freeze.enabled=true"); err != nil {
		return s, fmt.Errorf("installing the chart: %w\n%s", err, out)
	}
	return s, s.waitForPolicies(t)
}

func kubeconfig(c *rest.Config) clientcmdapi.Config {
	k := *clientcmdapi.NewConfig()
	k.Clusters["test"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	k.AuthInfos["test"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData}
	k.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	k.CurrentContext = "test"
	return k
}

func (s *server) helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return helm(t, append(args, "--kubeconfig", s.kubeconfig)...)
}

// waitForPolicies waits until the API server has seen the policies: each is
// asked for by something that it alone refuses or changes, in a dry run.
func (s *server) waitForPolicies(t *testing.T) error {
	admin := s.as(t, "")
	ns := "waiting"
	if err := client.IgnoreAlreadyExists(admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})); err != nil {
		return err
	}
	held := session(ns, "held", "admin")
	if err := client.IgnoreAlreadyExists(s.as(t, "admin", "system:masters").Create(t.Context(), held)); err != nil {
		return fmt.Errorf("creating a session to wait with: %w", err)
	}
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(held), held); err != nil {
		return err
	}
	held.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionHeld, metav1.ConditionTrue)}
	if err := s.operator(t).Status().Update(t.Context(), held); err != nil {
		return fmt.Errorf("writing a session's status: %w", err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		other := admin.Create(ctx, session(ns, "other", "somebody"), client.DryRunAll)
		pod := s.operator(t).Create(ctx, pod(ns, "stray", nil), client.DryRunAll)
		set := replicaSet(ns, "worker-5d4f7", "worker", held.Spec.Target.UID, 3)
		if err := admin.Create(ctx, set, client.DryRunAll); err != nil {
			return false, err
		}
		return other != nil && pod != nil && *set.Spec.Replicas == 0, nil
	})
	if err != nil {
		return fmt.Errorf("waiting until the policies are in force: %w", err)
	}
	return nil
}

// as is a client that acts as the user, or as the server's administrator when
// the name is empty.
func (s *server) as(t *testing.T, user string, groups ...string) client.WithWatch {
	t.Helper()
	config := rest.CopyConfig(s.config)
	if user != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: allTypes(t)})
	if err != nil {
		t.Fatalf("making a client for %q: %v", user, err)
	}
	return c
}

func (s *server) operator(t *testing.T) client.WithWatch {
	return s.as(t, operatorUser, "system:serviceaccounts", "system:serviceaccounts:"+releaseNamespace)
}

func allTypes(t *testing.T) *runtime.Scheme {
	t.Helper()
	all := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(all); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// namespace makes a namespace for one test.
func (s *server) namespace(t *testing.T, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-", Labels: labels}}
	if err := s.as(t, "").Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// allow gives the user a role in the namespace.
func (s *server) allow(t *testing.T, ns, user string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "for-" + user}, Rules: rules}
	s.create(t, role)
	s.bind(t, ns, user, "Role", role.Name)
}

// bind binds a Role or ClusterRole to the user in the namespace.
func (s *server) bind(t *testing.T, ns, user, kind, role string) {
	t.Helper()
	s.create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: user + "-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})
}

// create makes the objects as the server's administrator.
func (s *server) create(t *testing.T, all ...client.Object) {
	t.Helper()
	admin := s.as(t, "")
	for _, object := range all {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatalf("creating %T %s: %v", object, object.GetName(), err)
		}
	}
}

// own makes a session in the name of the user, as an administrator of that name.
func (s *server) own(t *testing.T, ns, name, user string) *v1alpha1.Session {
	t.Helper()
	made := session(ns, name, user)
	if err := s.as(t, user, "system:masters").Create(t.Context(), made); err != nil {
		t.Fatalf("creating a session of %s: %v", user, err)
	}
	return made
}

// check compares an error with the text that it must have; empty for none.
func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("let through; it should be refused with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("refused with %q, want %q", err, want)
	}
}

func session(ns, name, user string) *v1alpha1.Session {
	return &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.SessionSpec{
			Target: v1alpha1.Target{
				Group: "apps", Resource: "deployments", Name: "worker",
				UID: "9e3f4f1c-35a5-4b53-9d0f-6b5e8b8c8c01", Container: "worker",
			},
			Takeover:  v1alpha1.TakeoverScaleDown,
			Owner:     v1alpha1.Owner{Username: user, Hostname: "laptop"},
			ClientKey: "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
		},
	}
}

func condition(kind string, status metav1.ConditionStatus) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: v1alpha1.ReasonDone, LastTransitionTime: metav1.Now()}
}

// replicaSet is one that the deployment's controller would make: its name is
// the deployment's, a dash and the hash of the template.
func replicaSet(ns, name, deployment string, owner types.UID, replicas int32) *appsv1.ReplicaSet {
	labels := map[string]string{"app": deployment, "pod-template-hash": strings.TrimPrefix(name, deployment+"-")}
	yes := true
	set := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "worker"}}},
			},
		},
	}
	if owner != "" {
		set.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "Deployment", Name: deployment, UID: owner, Controller: &yes,
		}}
	}
	return set
}

func statefulSet(ns, name string, replicas int32) *appsv1.StatefulSet {
	labels := map[string]string{"app": name}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "worker"}}},
			},
		},
	}
}

// job of a CronJob of that UID, or of nobody.
func job(ns, name string, owner types.UID) *batchv1.Job {
	yes := true
	made := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "worker", Image: "worker"}}},
		}},
	}
	if owner != "" {
		made.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: "reports", UID: owner, Controller: &yes}}
	}
	return made
}

// pod is one that the session controls, or a stray one when there is none.
func pod(ns, name string, s *v1alpha1.Session) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: ofSession(ns, name, s),
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "worker", Image: "worker"}}},
	}
}

// ofSession is the metadata of what the operator makes for a session.
func ofSession(ns, name string, s *v1alpha1.Session) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: ns, Name: name}
	if s != nil {
		m.Labels = map[string]string{v1alpha1.SessionLabel: s.Name}
		m.OwnerReferences = []metav1.OwnerReference{
			*metav1.NewControllerRef(s, v1alpha1.GroupVersion.WithKind("Session")),
		}
	}
	return m
}
