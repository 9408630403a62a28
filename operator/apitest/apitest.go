// Package apitest gives tests a real etcd and kube-apiserver, with Understudy's
// CRD. By default there are no controllers and no kubelets: a test plays those it
// needs. Controllers gives a second server on which the real controllers of
// kube-controller-manager run.
package apitest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Main is for a TestMain: it starts the API server, runs the package's tests
// and stops it. Without the programs, tests that call Config are skipped, in
// CI (where the variable CI is set) they fail.
func Main(m *testing.M) int {
	log.SetLogger(logr.Discard())
	etcd, apiserver, missing := programs()
	if missing != "" {
		absent = missing
		return m.Run()
	}
	environment := newEnvironment(etcd, apiserver)
	started, err := environment.Start()
	if err != nil {
		absent = "the API server did not start: " + err.Error()
		failed = true
		return m.Run()
	}
	config = started
	code := m.Run()
	controllers.stop()
	stopBare()
	if err := environment.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the API server:", err)
	}
	return code
}

func newEnvironment(etcd, apiserver string) *envtest.Environment {
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join(root(), "charts", "understudy", "files", "sessions-crd.yaml")},
		ErrorIfCRDPathMissing: true,
	}
	environment.ControlPlane.Etcd = &envtest.Etcd{Path: etcd}
	environment.ControlPlane.GetAPIServer().Path = apiserver
	return environment
}

var (
	config *rest.Config
	absent string
	failed bool
)

// Config reaches the API server as its administrator.
func Config(t testing.TB) *rest.Config {
	t.Helper()
	if config == nil {
		if failed || os.Getenv("CI") != "" {
			t.Fatal(absent)
		}
		t.Skip(absent)
	}
	return rest.CopyConfig(config)
}

// programs are named by the variables that envtest reads too, else they are
// where the test cluster builds them.
func programs() (etcd, apiserver, missing string) {
	etcd, missing = program("TEST_ASSET_ETCD", "etcd")
	if missing != "" {
		return "", "", missing
	}
	apiserver, missing = program("TEST_ASSET_KUBE_APISERVER", "kube-apiserver")
	return etcd, apiserver, missing
}

func program(variable, name string) (path, missing string) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	path = os.Getenv(variable)
	if path == "" {
		path = filepath.Join(cache, "understudy", "bin", name)
	}
	if _, err := os.Stat(path); err != nil {
		return path, "no " + name + " at " + path + ": build the test cluster's programs (make cluster-up), or name one in " + variable
	}
	return path, ""
}

// root is the checkout, found from this file's own place in it.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
