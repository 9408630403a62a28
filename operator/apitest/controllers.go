package apitest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// running are the controllers that make, scale, complete and collect what
// workloads consist of. Nothing watches nodes: theirs is played.
var running = []string{
	"deployment-controller", "replicaset-controller", "statefulset-controller", "daemonset-controller",
	"job-controller", "cronjob-controller", "horizontal-pod-autoscaler-controller", "disruption-controller",
	"garbage-collector-controller", "persistentvolumeclaim-protection-controller",
}

// controlled is the server with controllers; it is started by whoever needs it
// first, and stopped by Main.
type controlled struct {
	once        sync.Once
	environment *envtest.Environment
	config      *rest.Config
	manager     *exec.Cmd
	said        bytes.Buffer
	folder      string
	missing     string
	err         error
}

var controllers controlled

// Controllers reaches, as its administrator, an API server on which the real
// controllers run. Pods are neither scheduled nor run: a test plays the
// scheduler and the kubelet.
func Controllers(t testing.TB) *rest.Config {
	t.Helper()
	Config(t)
	controllers.once.Do(controllers.start)
	switch {
	case controllers.err != nil:
		t.Fatalf("starting the controllers: %v", controllers.err)
	case controllers.missing != "" && os.Getenv("CI") != "":
		t.Fatal(controllers.missing)
	case controllers.missing != "":
		t.Skip(controllers.missing)
	}
	return rest.CopyConfig(controllers.config)
}

func (c *controlled) start() {
	etcd, apiserver, missing := programs()
	if missing != "" {
		c.missing = missing
		return
	}
	path, missing := program("TEST_ASSET_KUBE_CONTROLLER_MANAGER", "kube-controller-manager")
	if missing != "" {
		c.missing = missing
		return
	}
	c.environment = newEnvironment(etcd, apiserver)
	if c.config, c.err = c.environment.Start(); c.err != nil {
		c.environment = nil
		return
	}
	if c.folder, c.err = os.MkdirTemp("", "understudy-controllers-"); c.err != nil {
		return
	}
	kubeconfig := filepath.Join(c.folder, "kubeconfig")
	if c.err = os.WriteFile(kubeconfig, c.environment.KubeConfig, 0o600); c.err != nil {
		return
	}
	c.manager = exec.Command(path,
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--controllers="+strings.Join(running, ","),
		"--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=false",
		// The tests' own rhythm, not a cluster's.
		"--kube-api-qps=200", "--kube-api-burst=400", "--horizontal-pod-autoscaler-sync-period=1s",
	)
	c.manager.Stdout, c.manager.Stderr = &c.said, &c.said
	c.manager.SysProcAttr = endsWithParent()
	if c.err = c.manager.Start(); c.err != nil {
		c.manager = nil
	}
}

func (c *controlled) stop() {
	if c.manager != nil {
		_ = c.manager.Process.Kill()
		_ = c.manager.Wait()
		if os.Getenv("UNDERSTUDY_CONTROLLER_LOG") != "" {
			fmt.Fprintln(os.Stderr, c.said.String())
		}
	}
	if c.environment != nil {
		if err := c.environment.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the second API server:", err)
		}
	}
	if c.folder != "" {
		_ = os.RemoveAll(c.folder)
	}
}
