package settings

import (
	"os"
	"path/filepath"
	"testing"

	"understudy.dev/understudy/operator/tunnel"
)

func TestNewKey(t *testing.T) {
	pem, fingerprint, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), KeyFile)
	if err := os.WriteFile(file, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := loadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tunnel.KeyFingerprint(key.Public()); err != nil || got != fingerprint {
		t.Errorf("the key that is read has the fingerprint %s, %v; it was said to be %s", got, err, fingerprint)
	}
	if _, other, _ := NewKey(); other == fingerprint {
		t.Error("the next key is the same")
	}
}
