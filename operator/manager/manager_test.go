package manager

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
	"understudy.dev/understudy/operator/hold"
)

func TestMain(m *testing.M) { os.Exit(apitest.Main(m)) }

// The operator as it is wired: it gets to lead, says that it is healthy,
// serves its metrics, and stops when it is told to.
func TestOperatorStartsAndStops(t *testing.T) {
	probe, metricsAddress := freeAddress(t), freeAddress(t)
	mgr, err := New(apitest.Config(t), Options{
		AgentImage: "registry.example/agent:1", AgentDelivery: "auto", PolicyPrefix: "understudy", Namespace: "default",
		LeaderElect: true, MetricsAddress: metricsAddress, ProbeAddress: probe,
	}, time.Now, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- mgr.Start(ctx) }()
	select {
	case <-mgr.Elected():
	case err := <-stopped:
		t.Fatalf("stopped: %v", err)
	case <-time.After(60 * time.Second):
		t.Fatal("it does not get to lead")
	}
	for address, want := range map[string]string{probe + "/healthz": "ok", probe + "/readyz": "ok", metricsAddress + "/metrics": "understudy_holds_total 0"} {
		if body := get(t, "http://"+address); !strings.Contains(body, want) {
			t.Errorf("%s says %q, want %q in it", address, body, want)
		}
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		response, err := http.Get(url) //nolint:noctx // a test on loopback
		if err == nil {
			var body []byte
			body, err = io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil && response.StatusCode == http.StatusOK {
				return string(body)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", url, err)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// The cache of the cluster's workloads keeps nothing that grows with them.
func TestOnlyIdentity(t *testing.T) {
	full := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "worker", UID: "w-1", ResourceVersion: "7", Generation: 3,
			Labels:        map[string]string{"app": "worker"},
			Annotations:   map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "long", v1alpha1.ClaimAnnotation: "claim"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"long":{}}`)}}, {Manager: hold.FieldManager, FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"long":{}}`)}}},
		},
	}
	got, err := onlyIdentity(full)
	if err != nil {
		t.Fatal(err)
	}
	want := &metav1.PartialObjectMetadata{
		TypeMeta: full.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "worker", UID: "w-1", ResourceVersion: "7", Generation: 3,
			Annotations:   map[string]string{v1alpha1.ClaimAnnotation: "claim"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: hold.FieldManager}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Of a Session the cache has what others are woken by, and no more.
func TestOnlyState(t *testing.T) {
	s := &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Name: "alice", Annotations: map[string]string{"a": "b"}}, Spec: v1alpha1.SessionSpec{Wait: true, ClientKey: "key"}}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionContended, v1alpha1.ConditionHeld, v1alpha1.ConditionClaimed, v1alpha1.ConditionStandInReady, v1alpha1.ConditionRestored} {
		s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Reason", Message: "A message."})
	}
	got, err := onlyState(s)
	if err != nil {
		t.Fatal(err)
	}
	kept := func(kind string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Reason"}
	}
	want := &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Name: "alice"}, Spec: v1alpha1.SessionSpec{Wait: true}, Status: v1alpha1.SessionStatus{
		Conditions: []metav1.Condition{kept(v1alpha1.ConditionReady), kept(v1alpha1.ConditionHeld), kept(v1alpha1.ConditionClaimed), kept(v1alpha1.ConditionRestored)},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
