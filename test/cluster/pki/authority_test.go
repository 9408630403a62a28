package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
)

// A server with a certificate of ours meets a user with a kubeconfig of ours, and
// learns the user's name and groups; a stranger's certificate is refused.
func TestKubeconfigIdentifiesItsBearer(t *testing.T) {
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := authority.Pair().Save(folder, "ca"); err != nil {
		t.Fatal(err)
	}
	if authority, err = LoadAuthority(folder, "ca"); err != nil {
		t.Fatal(err)
	}
	serving, err := authority.Sign(Identity{Name: "server", Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(serving.CertificatePEM, serving.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.CertificatePEM)

	var subject struct {
		name   string
		groups []string
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		peer := r.TLS.PeerCertificates[0].Subject
		subject.name, subject.groups = peer.CommonName, peer.Organization
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	defer server.Close()

	for _, test := range []struct {
		name     string
		signer   func() *Authority
		accepted bool
	}{
		{"ours", func() *Authority { return authority }, true},
		{"a stranger's", func() *Authority {
			other, err := NewAuthority("test")
			if err != nil {
				t.Fatal(err)
			}
			return other
		}, false},
	} {
		content, err := test.signer().Kubeconfig(server.URL, Identity{Name: "ann", Groups: []string{"dev", "ops"}})
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Users []struct {
				User struct {
					Certificate []byte `json:"client-certificate-data"`
					Key         []byte `json:"client-key-data"`
				}
			}
		}
		if err := json.Unmarshal(content, &config); err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(config.Users[0].User.Certificate, config.Users[0].User.Key)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}}
		response, err := client.Get(server.URL)
		if (err == nil) != test.accepted {
			t.Fatalf("%s: error %v, want accepted %v", test.name, err, test.accepted)
		}
		if err == nil {
			_ = response.Body.Close()
		}
	}
	if subject.name != "ann" || !slices.Equal(subject.groups, []string{"dev", "ops"}) {
		t.Errorf("the server saw %q of %q", subject.name, subject.groups)
	}
}
