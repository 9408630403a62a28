package apiserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &Client{Server: server.URL, http: server.Client()}
}

func TestApply(t *testing.T) {
	var got string
	client := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.String() + " " + r.Header.Get("Content-Type") + " " + string(body)
	})
	if err := client.Apply(context.Background(), "/api/v1/namespaces/a/configmaps/b", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	want := "PATCH /api/v1/namespaces/a/configmaps/b?force=true&fieldManager=understudy-cluster application/apply-patch+yaml {}"
	if got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestErrorsSayWhatTheServerSaid(t *testing.T) {
	code := http.StatusNotFound
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "because", code) })
	if err := client.Ready(context.Background()); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want %v", err, ErrNotFound)
	}
	code = http.StatusForbidden
	if err := client.Ready(context.Background()); err == nil || !strings.Contains(err.Error(), "because") {
		t.Errorf("error %v, want one that says because", err)
	}
}

func TestCondition(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"true":    {`{"status":{"conditions":[{"type":"Other","status":"False"},{"type":"Ready","status":"True"}]}}`, ""},
		"false":   {`{"status":{"conditions":[{"type":"Ready","status":"False","reason":"Why","message":"that"}]}}`, "Ready=False: Why: that"},
		"missing": {`{"status":{}}`, "no condition Ready"},
	} {
		client := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, test.body) })
		err := client.Condition(context.Background(), "/object", "Ready")
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}
