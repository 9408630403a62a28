package doctor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/session"
)

// TestLogs: of each of the operator's pods what it said last, and of one that was
// started again what it said before; which right is lacking where one is.
func TestLogs(t *testing.T) {
	const pods = `{"kind":"PodList","apiVersion":"v1","items":[
		{"metadata":{"name":"operator-1","namespace":"system"},"spec":{"containers":[{"name":"operator"}]},
		 "status":{"containerStatuses":[{"name":"operator","restartCount":2}]}}]}`
	forbidden := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no"}`)
	}
	for name, tc := range map[string]struct {
		mayList, mayRead bool
		want, missing    string
	}{
		"all rights":     {true, true, "logs/operator-1-operator.log: run now of 1000; logs/operator-1-operator.before.log: run before of 1000", ""},
		"no right to it": {true, false, "", "the operator's logs: you lack the right to get pods/log in namespace system"},
		"none at all":    {false, false, "", "the operator's logs: you lack the right to list pods in all namespaces"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch query := r.URL.Query(); {
				case r.URL.Path == "/api/v1/pods" && tc.mayList:
					w.Header().Set("Content-Type", "application/json")
					fmt.Fprint(w, pods)
				case strings.HasSuffix(r.URL.Path, "/operator-1/log") && tc.mayRead:
					run := "now"
					if query.Get("previous") == "true" {
						run = "before"
					}
					fmt.Fprintf(w, "run %s of %s", run, query.Get("tailLines"))
				default:
					forbidden(w)
				}
			}))
			defer server.Close()
			client, err := session.NewClient(&rest.Config{Host: server.URL}, "shop")
			if err != nil {
				t.Fatal(err)
			}
			logs, missing := Logs(t.Context(), client)
			var said []string
			for _, log := range logs {
				said = append(said, log.Name+": "+log.Text)
			}
			if got := strings.Join(said, "; "); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
			lacks := ""
			if len(missing) > 0 {
				lacks = missing[0].What + ": " + missing[0].Why
			}
			if !strings.HasPrefix(lacks, tc.missing) || (lacks == "") != (tc.missing == "") {
				t.Errorf("missing %q, want %q", lacks, tc.missing)
			}
		})
	}
}
