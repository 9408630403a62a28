package settings

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"understudy.dev/understudy/operator/tunnel"
)

// write makes the folder that the Secret is mounted as.
func write(t *testing.T, config, key []byte) string {
	dir := t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, ConfigFile), config, 0o444),
		os.WriteFile(filepath.Join(dir, KeyFile), key, 0o444)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLoad(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkix, _ := x509.MarshalPKIXPublicKey(public)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(private)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	good := Config{
		Session:      "uid",
		Port:         DefaultPort,
		ClientKey:    pkix,
		LeaseSeconds: 60,
		Ports:        []tunnel.Port{{Network: "tcp", Port: 8080, Why: "declared,service"}},
		Mounts:       []string{"/etc/config"},
		ServicePorts: []uint16{8080},
		ShareTraffic: true,
	}
	content, _ := json.Marshal(good)
	config, signer, err := Load(write(t, content, key))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&good, config); diff != "" {
		t.Error(diff)
	}
	if !public.Equal(signer.Public()) {
		t.Error("another key was read")
	}

	for _, test := range []struct {
		name   string
		change func(*Config)
		raw    string
		key    string
		want   string
	}{
		{name: "no session", change: func(c *Config) { c.Session = "" }, want: "session is empty"},
		{name: "no port", change: func(c *Config) { c.Port = 0 }, want: "port is 0"},
		{name: "no client key", change: func(c *Config) { c.ClientKey = nil }, want: "clientKey"},
		{name: "no lease", change: func(c *Config) { c.LeaseSeconds = 0 }, want: "leaseSeconds is 0"},
		{name: "relative mount", change: func(c *Config) { c.Mounts = []string{"etc"} }, want: `mount "etc"`},
		{name: "unclean mount", change: func(c *Config) { c.Mounts = []string{"/a/../b"} }, want: `mount "/a/../b"`},
		{name: "an unknown freezer", change: func(c *Config) {
			c.Freeze = &Freeze{PodUID: "p", Container: "c", ContainerID: "i", Freezer: "v3"}
		}, want: `the freezer is "v3"`},
		{name: "unknown field", raw: `{"session":"x","restrictTo":"nothing"}`, want: "restrictTo"},
		{name: "not JSON", raw: `session: x`, want: "decoding"},
		{name: "too large", raw: strings.Repeat(" ", maxFile+1), want: "larger than"},
		{name: "no key", key: "nothing", want: "no PEM block"},
		{name: "a certificate", key: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", want: "no PEM block of type PRIVATE KEY"},
		{name: "a broken key", key: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", want: "decoding"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bad := good
			if test.change != nil {
				test.change(&bad)
			}
			content, _ := json.Marshal(bad)
			if test.raw != "" {
				content = []byte(test.raw)
			}
			pem := key
			if test.key != "" {
				pem = []byte(test.key)
			}
			if _, _, err := Load(write(t, content, pem)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, wanted %q", err, test.want)
			}
		})
	}
	if _, _, err := Load(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
}
