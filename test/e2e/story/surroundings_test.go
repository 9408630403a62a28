package story

import (
	"fmt"
	"strings"
	"testing"

	"understudy.dev/understudy/test/e2e/workload"
)

// Environment, config map, secret and token of my process are the container's.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.start("web", workload.Options{Replicas: 1})

	// What the container itself has, asked of it before I take its place.
	there := map[string]string{}
	for _, name := range []string{"PLAIN", "GREETING", "PASSWORD", "KUBERNETES_SERVICE_HOST"} {
		there[name] = s.asks("web", "/env", map[string]string{"name": name})
		if there[name] == "" {
			t.Fatalf("the container has no %s", name)
		}
	}
	const account = "/var/run/secrets/kubernetes.io/serviceaccount/"
	for _, path := range []string{"/etc/web/settings.ini", "/var/secrets/web/password", account + "ca.crt", account + "namespace"} {
		there[path] = s.asks("web", "/file", map[string]string{"path": path})
		if there[path] == "" || strings.HasPrefix(there[path], "error") {
			t.Fatalf("the container's %s: %s", path, there[path])
		}
	}

	// I look at each from a shell in its place.
	var script strings.Builder
	for name := range there {
		look := fmt.Sprintf(`printenv %s`, name)
		if strings.HasPrefix(name, "/") {
			look = "cat " + name
		}
		fmt.Fprintf(&script, "echo '<%s>'; %s; echo '</%s>'\n", name, look, name)
	}
	// The token is a pod's own, so it is only looked at, and used.
	fmt.Fprintf(&script, `
echo "pod name: $POD_NAME"; echo "pod ip: $POD_IP"; echo "home: $HOME"; id -u
curl -sS --cacert %[1]sca.crt -H "Authorization: Bearer $(cat %[1]stoken)" \
	-H 'Content-Type: application/json' -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' \
	https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/apis/authentication.k8s.io/v1/selfsubjectreviews
echo all looked at
sleep 1000`, account)
	run := s.takeOver("deployment/web/container/web", nil, "sh", "-c", script.String())
	session := s.ready(run, "all looked at")
	said := run.Out.String()
	for name, want := range there {
		_, rest, _ := strings.Cut(said, "<"+name+">\n")
		got, _, _ := strings.Cut(rest, "</"+name+">")
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: %q here, %q there", name, strings.TrimSpace(got), want)
		}
	}
	for _, want := range []string{
		"pod name: " + session.Status.Agent.PodName,
		// My own, not the container's.
		"home: " + s.dev.Home,
		// The API server knows me as the workload's service account.
		`"system:serviceaccount:` + s.namespace + `:web"`,
	} {
		if !strings.Contains(strings.ReplaceAll(said, `": "`, `":"`), want) {
			t.Errorf("nothing says %s", want)
		}
	}
	if strings.Contains(said, "\n0\n") {
		t.Error("my process runs as root")
	}
}

// Any program works, however it is made.
func TestAnyProgram(t *testing.T) {
	programs := map[string][]string{
		"static Go":   {"probe", "get", "http://web/"},
		"dynamic C":   {"curl", "-sS", "-m", "20", "http://web/"},
		"Python":      {"/usr/bin/python3", "-c", "import urllib.request; print(urllib.request.urlopen('http://web/', timeout=20).read().decode())"},
		"shell, kids": {"sh", "-c", "(curl -sS -m 20 http://web/ | cat) & wait"},
	}
	for name, command := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.start("web", workload.Options{Replicas: 1})
			// A copy is enough to see that a program gets at the cluster: the
			// workload itself answers it.
			r := s.run("understudy", append([]string{"exec", "-t", "deployment/web/container/web", "--copy-target", "--"}, command...)...)
			s.exits(r, 0)
			if !strings.Contains(r.Out.String(), `"site":"cluster"`) {
				t.Errorf("it got %q", r.Out)
			}
			s.gone()
		})
	}
}
