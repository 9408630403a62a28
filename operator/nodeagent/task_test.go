package nodeagent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"understudy.dev/understudy/operator/agent/settings"
	"understudy.dev/understudy/operator/fence/probe"
	"understudy.dev/understudy/operator/tunnel"
)

func taskForTest(t *testing.T) Task {
	t.Helper()
	pod := worker(func(p *corev1.Pod) {
		p.ObjectMeta = metav1.ObjectMeta{Namespace: "shop", Name: "worker-0", UID: "u", Labels: map[string]string{"app": "worker"}}
		p.Spec.Containers[1].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}}}
	})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return Task{
		Session: "s", ClientKey: public, Owner: "ada@laptop", Lease: time.Minute, Pod: pod, Container: "worker", ContainerID: "containerd://0123",
		Services: []corev1.Service{
			{Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "worker"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(9090)}}}},
			{Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "other"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(1)}}}},
		},
		ListenPorts: []int32{5005}, Release: true,
	}
}

// A container is given the longest time of those that the kubelet may give it.
func TestGrace(t *testing.T) {
	task := taskForTest(t)
	if got := task.grace(); got != 30 {
		t.Errorf("by default %d s", got)
	}
	task.Pod.Spec.TerminationGracePeriodSeconds = ptr.To(int64(5))
	if got := task.grace(); got != 5 {
		t.Errorf("of the pod %d s", got)
	}
	container := Container(&task.Pod.Spec, "worker")
	container.LivenessProbe = &corev1.Probe{TerminationGracePeriodSeconds: ptr.To(int64(70))}
	container.StartupProbe = &corev1.Probe{}
	if got := task.grace(); got != 70 {
		t.Errorf("of the liveness probe %d s", got)
	}
}

func TestTask(t *testing.T) {
	task := taskForTest(t)
	data, fingerprint, err := task.Secret()
	if err != nil || len(fingerprint) != 64 || len(data[settings.KeyFile]) == 0 {
		t.Fatalf("%v; fingerprint %q", err, fingerprint)
	}
	var told settings.Config
	if err := json.Unmarshal(data[settings.ConfigFile], &told); err != nil {
		t.Fatal(err)
	}
	tcp := func(n uint16, why string) tunnel.Port { return tunnel.Port{Network: "tcp", Port: n, Why: why} }
	if diff := cmp.Diff([]tunnel.Port{tcp(5005, "asked"), tcp(8080, "probed"), tcp(9090, "service")}, told.Ports); diff != "" {
		t.Errorf("ports that may be opened (-want +got):\n%s", diff)
	}
	want := &settings.Freeze{
		Pod: "shop/worker-0", PodUID: "u", Container: "worker", ContainerID: "0123", Owner: "ada@laptop", Release: true,
		GraceSeconds: 30,
		Probes:       []probe.Probe{{Kind: probe.TCP, Port: 8080}}, ProbesInPod: true,
	}
	if diff := cmp.Diff(want, told.Freeze); diff != "" || told.LeaseSeconds != 60 {
		t.Errorf("lease %d; what is frozen (-want +got):\n%s", told.LeaseSeconds, diff)
	}
}

// A static pod is known to its node by the hash of its configuration, and to the API by
// its mirror's UID. What only says a hash is no mirror.
func TestStaticPod(t *testing.T) {
	task := taskForTest(t)
	task.Pod.Annotations = map[string]string{"kubernetes.io/config.hash": "0123456789abcdef0123456789abcdef"}
	if got := NodeUID(task.Pod); got != "u" {
		t.Errorf("a pod with another's hash is %s", got)
	}
	task.Pod.Annotations["kubernetes.io/config.mirror"] = "0123456789abcdef0123456789abcdef"
	config, err := task.Config()
	if err != nil || config.Freeze.PodUID != "0123456789abcdef0123456789abcdef" {
		t.Errorf("the agent looks for %q, %v", config.Freeze.PodUID, err)
	}
	solo := soloForTest("agents")
	solo.Target.Annotations = task.Pod.Annotations
	thaw := SoloThaw(solo)
	if command := strings.Join(thaw.Spec.Containers[0].Command, " "); !strings.HasSuffix(command, "thaw --pod=0123456789abcdef0123456789abcdef") {
		t.Errorf("what thaws is asked to %s", command)
	}
	if _, _, uid := SoloTarget(thaw); uid != solo.Target.UID {
		t.Errorf("it is taken for that of pod %s", uid)
	}
}

// A container that goes on running answers its probes and keeps its connections.
func TestTaskAttach(t *testing.T) {
	task := taskForTest(t)
	task.Attach = true
	config, err := task.Config()
	if f := config.Freeze; err != nil || !f.Attach || f.Release || len(f.Probes) > 0 || f.ProbesInPod {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestTaskRefused(t *testing.T) {
	task := taskForTest(t)
	task.ContainerID = ""
	if _, _, err := task.Secret(); err == nil {
		t.Error("a container without an ID is taken")
	}
}
