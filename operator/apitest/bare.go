package apitest

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// bare is the server that knows nothing of Understudy; it is started by whoever
// needs it first, and stopped by Main.
var bare struct {
	once        sync.Once
	environment *envtest.Environment
	config      *rest.Config
	err         error
}

// Bare reaches, as its administrator, an API server in whose cluster Understudy is
// not installed.
func Bare(t testing.TB) *rest.Config {
	t.Helper()
	Config(t)
	bare.once.Do(func() {
		etcd, apiserver, _ := programs()
		environment := newEnvironment(etcd, apiserver)
		environment.CRDDirectoryPaths, environment.ErrorIfCRDPathMissing = nil, false
		if bare.config, bare.err = environment.Start(); bare.err == nil {
			bare.environment = environment
		}
	})
	if bare.err != nil {
		t.Fatalf("starting an API server without Understudy: %v", bare.err)
	}
	return rest.CopyConfig(bare.config)
}

func stopBare() {
	if bare.environment == nil {
		return
	}
	if err := bare.environment.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the API server without Understudy:", err)
	}
}
