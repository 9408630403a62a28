package manager

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/operator/apitest"
)

// Whatever this machine's clock says, the time is the one that the API server
// writes on objects; never ahead of it, and not more than a second behind.
func TestClockIsTheAPIServers(t *testing.T) {
	config := apitest.Config(t)
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for name, off := range map[string]time.Duration{"right": 0, "an hour ahead": time.Hour, "an hour behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			clock, err := readClock(t.Context(), config, func() time.Time { return time.Now().Add(off) })
			if err != nil {
				t.Fatal(err)
			}
			namespace, err := api.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "clock-"}}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			now := clock.Now()
			ahead := now.Sub(namespace.CreationTimestamp.Time)
			// Both are cut to whole seconds, and the requests took their time.
			if took := time.Since(began); ahead < -time.Second || ahead > took+time.Second {
				t.Errorf("%s after an object was made it is %s by the clock, in a test of %s", now, ahead, took)
			}
			if d := clock.off() - off; d < -time.Second || d > time.Since(began)+time.Second {
				t.Errorf("it says to be off by %s, of %s", clock.off(), off)
			}
		})
	}
}

// A reply without a time, and one that is no reply.
func TestClockWithoutATime(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		w.WriteHeader(status)
	}))
	defer server.Close()
	local := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	now := func() time.Time { return local }
	clock, err := readClock(t.Context(), &rest.Config{Host: server.URL}, now)
	if err != nil {
		t.Fatal(err)
	}
	if local = local.Add(time.Minute); !clock.Now().Equal(local) {
		t.Errorf("it is %s, want this process's own %s", clock.Now(), local)
	}
	status = http.StatusServiceUnavailable
	if _, err := readClock(t.Context(), &rest.Config{Host: server.URL}, now); err == nil {
		t.Error("a server that is not ready has told the time")
	}
}
