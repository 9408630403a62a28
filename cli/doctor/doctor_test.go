package doctor

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

func TestKubernetes(t *testing.T) {
	for minor, want := range map[string]State{"29": Problem, "30": Warning, "35+": Warning, "36": OK, "37+": OK, "x": Unknown} {
		if got := aged(version.Info{Minor: minor}); got.State != want {
			t.Errorf("1.%s: %+v", minor, got)
		}
	}
}

// TestNoAddress: of a server that is not reached no name and no address is in
// what is given away, and none of the name servers of who looked.
func TestNoAddress(t *testing.T) {
	b := Bundle{}
	b.Hide("https://secret-api.corp.example:6443")
	for _, said := range []string{
		`Get "https://secret-api.corp.example:6443/version": dial tcp: lookup secret-api.corp.example on 10.255.255.53:53: no such host`,
		`dial tcp: lookup secret-api.corp.example: i/o timeout`,
		`dial tcp 10.255.255.53:6443: connect: connection refused`,
		`dial tcp [fd00::53]:6443: connect: connection refused`,
		`read tcp 10.255.255.7:40000->10.255.255.53:6443: read: connection reset by peer`,
		`dial tcp: lookup proxy.corp.example on [fd00::53]:53: read udp 10.255.255.7:4000->[fd00::53]:53: i/o timeout`,
		`x509: certificate is valid for a, not SECRET-API.corp.example`,
	} {
		got := b.redact(said)
		for _, word := range []string{"corp.example", "CORP", "SECRET-API", "10.255.255", "fd00::53", "6443"} {
			if strings.Contains(got, word) {
				t.Errorf("%q is in %s", word, got)
			}
		}
		if !strings.Contains(got, said[strings.LastIndex(said, ": ")+2:][:2]) {
			t.Errorf("what happened is not in %s", got)
		}
	}
}

func TestSkew(t *testing.T) {
	for _, c := range []struct {
		operator, release string
		want              State
	}{
		{"0.9.0", "v0.9.4", OK}, {"0.9.0", "v0.10.0", Warning}, {"0.9.0", "development", OK}, {"", "v0.9.0", OK},
	} {
		if got := skew(session.Operator{Version: c.operator}, c.release); got.State != c.want {
			t.Errorf("operator %q, client %q: %+v", c.operator, c.release, got)
		}
	}
}

// TestBundle: what must not be shown is nowhere in it, and what helps is.
func TestBundle(t *testing.T) {
	secrets := []string{"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "hunter22", "s3cr3tpem", "api.example.com", "CLIENTKEY", "ANNOTATED", "MANAGER"}
	s := v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{
		Name: "worker-1", Annotations: map[string]string{"a": "ANNOTATED"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "MANAGER"}},
	}}
	s.Spec.ClientKey = "CLIENTKEY"
	s.Status.Conditions = []metav1.Condition{{Type: "Ready", Message: "pull from https://user:hunter22@registry failed: Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"}}
	b := Bundle{
		Version: "understudy 1", Sessions: []v1alpha1.Session{s}, Hidden: []string{"https://api.example.com"},
		Logs:          []Log{{"logs/operator.log", strings.Repeat("a line before\n", logBytes/10) + "dialing https://api.example.com: token=hunter22\nthe last line\n"}},
		Configuration: "agent: {image: x}\n",
		Missing:       []Missing{{"logs/other.log", "you lack a right"}},
		Findings:      []Finding{{Of: "cluster", Says: "https://api.example.com: password=hunter22 -----BEGIN KEY-----\ns3cr3tpem\n-----END KEY-----"}},
	}
	var out bytes.Buffer
	names, err := b.Write(&out, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	content := ""
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > logBytes+100 {
			t.Errorf("%s has %d bytes", header.Name, len(text))
		}
		content += header.Name + "\n" + string(text)
	}
	for _, word := range secrets {
		if strings.Contains(content, word) {
			t.Errorf("%q is in it:\n%s", word, content)
		}
	}
	for _, word := range append(names, "understudy 1", "worker-1", "registry failed", "the last line", "(what was before is left out)", "agent: {image: x}", "Not in it: logs/other.log: you lack a right") {
		if !strings.Contains(content, word) {
			t.Errorf("%q is not in it:\n%s", word, content)
		}
	}
}
