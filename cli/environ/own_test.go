package environ

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"understudy.dev/understudy/config"
)

// TestOwn: this machine's proxies are not the pod's.
func TestOwn(t *testing.T) {
	own, left := Own([]string{"http_proxy=http://proxy.office:3128", "NO_PROXY=.office", "HTTPS_PROXY=http://127.0.0.1:8080", "PROXY=mine"})
	if diff := cmp.Diff([]string{"HTTPS_PROXY", "NO_PROXY", "http_proxy"}, left); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	rules, err := New(config.Env{Override: map[string]string{"ALL_PROXY": "socks5://asked-for"}})
	if err != nil {
		t.Fatal(err)
	}
	env, _ := rules.Apply(own, []string{"HTTPS_PROXY=http://egress.svc:3128"})
	if diff := cmp.Diff([]string{"ALL_PROXY=socks5://asked-for", "HTTPS_PROXY=http://egress.svc:3128", "PROXY=mine"}, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}
