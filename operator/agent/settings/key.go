package settings

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"understudy.dev/understudy/operator/tunnel"
)

// NewKey makes an agent's key pair: the private key as Load reads it from KeyFile,
// and the public key's fingerprint.
func NewKey() (keyPEM []byte, fingerprint string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("making the agent's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, "", fmt.Errorf("encoding the agent's key: %w", err)
	}
	fingerprint, err = tunnel.KeyFingerprint(private.Public())
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), fingerprint, err
}
