package acceptance

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/test/cluster/cluster"
	"understudy.dev/understudy/test/cluster/image"
	"understudy.dev/understudy/test/cluster/layout"
)

const (
	answerImage = "understudy.dev/answer:test"
	toolImage   = "understudy.dev/answer-tool:test"
)

// suite is the cluster under test.
type suite struct {
	layout  layout.Layout
	cluster *cluster.Cluster
}

func TestCluster(t *testing.T) {
	if os.Getenv("UNDERSTUDY_TEST_CLUSTER") == "" {
		t.Skip("brings a cluster up, as root: set UNDERSTUDY_TEST_CLUSTER=1, or run `make test-cluster`")
	}
	l, err := layout.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	l.Name = "acceptance"
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	s := suite{l, cluster.New(l, module, testWriter{t})}
	ctx := t.Context()
	// An earlier run may have been ended in the middle.
	if err := s.cluster.Down(ctx); err != nil {
		t.Fatal(err)
	}
	before := takeFootprint(t, l)
	t.Cleanup(func() {
		if err := s.cluster.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})

	if err := s.cluster.Up(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("a crash is recovered from", func(t *testing.T) { s.crash(t) })
	running := strings.Join(takeFootprint(t, l).beyond(before), "\n")
	for _, kind := range []string{"process ", "cgroup ", "folder "} {
		if !strings.Contains(running, kind) {
			t.Fatalf("a running cluster has no %s: what is looked for after its end would not be found", kind)
		}
	}
	s.loadAnswer(t)
	t.Run("pods of two nodes behind a Service", s.service)
	t.Run("an image volume under restricted", s.imageVolume)
	t.Run("port-forward", s.portForward)
	t.Run("admission policies", s.policies)
	t.Run("users", s.users)
	t.Run("no way out", s.noWayOut)
	t.Run("stop and start", s.stopAndStart)
	t.Run("up is idempotent", s.upAgain)

	// Frozen containers do not hear SIGKILL where cgroups are version 1.
	s.freezeOne(t)
	if err := s.cluster.Down(ctx); err != nil {
		t.Fatal(err)
	}
	for _, thing := range takeFootprint(t, l).beyond(before) {
		t.Errorf("left behind: %s", thing)
	}
}

// crash ends a part of the cluster without its knowing and brings it up again.
func (s suite) crash(t *testing.T) {
	states, err := s.cluster.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range states {
		if state.Name == "machine-control" || state.Name == "node-1/kubelet" || state.Name == "node-2/containerd" {
			if err := syscall.Kill(state.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			s.awaitGone(t, state.Name)
		}
	}
	if err := s.cluster.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if states, err = s.cluster.Status(); err != nil {
		t.Fatal(err)
	}
	for _, state := range states {
		if !state.Running {
			t.Errorf("%s does not run", state.Name)
		}
	}
}

// awaitGone waits until a killed part is no more: a kill is asked for, not done.
func (s suite) awaitGone(t *testing.T, name string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		states, err := s.cluster.Status()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(states, func(state cluster.State) bool { return state.Name == name && state.Running }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s still runs after it was killed", name)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (s suite) loadAnswer(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	program := filepath.Join(folder, "answer")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./answer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the application: %v\n%s", err, said)
	}
	for name, spec := range map[string]image.Spec{
		"answer": {Name: answerImage, Files: map[string]string{"/answer": program}, Entrypoint: []string{"/answer"}},
		"tool":   {Name: toolImage, Files: map[string]string{"/bin/tool": program}},
	} {
		archive := filepath.Join(folder, name+".tar")
		if err := image.Write(spec, archive); err != nil {
			t.Fatal(err)
		}
		if err := s.cluster.Load(t.Context(), archive, false); err != nil {
			t.Fatal(err)
		}
	}
	s.apply(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: answer}
spec:
  replicas: 3
  selector: {matchLabels: {app: answer}}
  template:
    metadata: {labels: {app: answer}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: answer}}}
      containers:
      - name: answer
        image: %s
        imagePullPolicy: Never
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: answer}
spec: {selector: {app: answer}, ports: [{port: 80, targetPort: 8080}]}
`, answerImage))
	s.kubectl(t, "rollout", "status", "deployment/answer", "--timeout=60s")
}

// users sees that a kubeconfig for a user has no right but those that were given.
func (s suite) users(t *testing.T) {
	content, err := s.cluster.Kubeconfig("ann", "team-a")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	whoami := s.kubectl(t, "--kubeconfig", file, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}")
	if !strings.HasPrefix(whoami, "ann ") || !strings.Contains(whoami, "team-a") {
		t.Errorf("the API server takes ann of team-a for %s", whoami)
	}
	if said, err := s.try(t, "--kubeconfig", file, "get", "pods"); err == nil || !strings.Contains(said, "Forbidden") {
		t.Errorf("a user without rights read pods: %q (error %v)", said, err)
	}
	s.kubectl(t, "create", "rolebinding", "readers", "--clusterrole=view", "--group=team-a")
	s.kubectl(t, "--kubeconfig", file, "get", "pods")
}

// noWayOut listens on every address of the machine outside and calls them from a pod and from a node.
func (s suite) noWayOut(t *testing.T) {
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	node, err := s.cluster.Machine("node-1")
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, address := range append(addresses, &net.IPNet{IP: net.IPv4(192, 0, 2, 1)}) {
		ip := address.(*net.IPNet).IP
		if ip.To4() == nil || ip.IsLoopback() {
			continue
		}
		tried++
		outside := net.JoinHostPort(ip.String(), strconv.Itoa(port))
		if said, err := s.try(t, "exec", "deployment/answer", "--", "/answer", "dial", outside); err == nil {
			t.Errorf("a pod reached %s: %s", outside, said)
		} else if !strings.Contains(said, "unreachable") {
			t.Errorf("a pod that calls %s learns %q, want to be told at once that it is unreachable", outside, said)
		}
		err := node.Do(func() error {
			connection, err := net.DialTimeout("tcp", outside, 3*time.Second)
			if err == nil {
				_ = connection.Close()
			}
			return err
		})
		if err == nil {
			t.Errorf("a node reached %s", outside)
		}
	}
	if tried == 0 {
		t.Fatal("no address was tried")
	}
}

func (s suite) stopAndStart(t *testing.T) {
	ctx := t.Context()
	if err := s.cluster.Stop(ctx, true, "apiserver"); err != nil {
		t.Fatal(err)
	}
	if said, err := s.try(t, "get", "--raw", "/readyz"); err == nil {
		t.Errorf("a stopped API server answered %q", said)
	}
	if err := s.cluster.Start(ctx, "apiserver"); err != nil {
		t.Fatal(err)
	}
	s.kubectl(t, "get", "--raw", "/readyz")

	// Containers outlive their node's containerd and kubelet.
	started := s.kubectl(t, "get", "pods", "-l", "app=answer", "-o", "jsonpath={.items[*].status.containerStatuses[*].containerID}")
	if err := s.cluster.Stop(ctx, false, "node-1/kubelet", "node-1/containerd"); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.Start(ctx, "node-1/containerd", "node-1/kubelet"); err != nil {
		t.Fatal(err)
	}
	s.kubectl(t, "rollout", "status", "deployment/answer", "--timeout=60s")
	after := s.kubectl(t, "get", "pods", "-l", "app=answer", "-o", "jsonpath={.items[*].status.containerStatuses[*].containerID}")
	if started != after {
		t.Errorf("containers were %s and are %s", started, after)
	}
}

// upAgain changes nothing of a cluster that is up, and starts what was stopped.
func (s suite) upAgain(t *testing.T) {
	processes := func() map[string]int {
		states, err := s.cluster.Status()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]int{}
		for _, state := range states {
			if state.Running {
				found[state.Name] = state.PID
			}
		}
		return found
	}
	const stopped = "kube-scheduler"
	if err := s.cluster.Stop(t.Context(), false, stopped); err != nil {
		t.Fatal(err)
	}
	before := processes()
	if _, runs := before[stopped]; runs {
		t.Fatalf("%s runs after it was stopped", stopped)
	}
	if err := s.cluster.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := processes()
	if _, runs := after[stopped]; !runs {
		t.Errorf("%s does not run", stopped)
	}
	for name, pid := range before {
		if after[name] != pid {
			t.Errorf("%s was process %d and is %d", name, pid, after[name])
		}
	}
	s.kubectl(t, "rollout", "status", "deployment/answer", "--timeout=60s")
}

// freezeOne freezes a container in whichever hierarchy can.
func (s suite) freezeOne(t *testing.T) {
	t.Helper()
	id := s.kubectl(t, "get", "pods", "-l", "app=answer", "-o", "jsonpath={.items[0].status.containerStatuses[0].containerID}")
	id = strings.TrimPrefix(id, "containerd://")
	for file, value := range map[string]string{"freezer.state": "FROZEN", "cgroup.freeze": "1"} {
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			found, err := filepath.Glob(pattern + s.layout.Group() + "/node-*/kubepods/*/pod*/" + id + "/" + file)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range found {
				if err := os.WriteFile(path, []byte(value), 0); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	t.Fatalf("container %s has no cgroup that can be frozen", id)
}
