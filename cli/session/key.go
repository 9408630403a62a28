package session

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
)

// NewKey makes the key pair of one session's end of the tunnel. It is never
// written anywhere; the second result is its public half as the Session's
// clientKey: PKIX, DER, base64.
func NewKey() (crypto.Signer, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("making a key pair: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, "", fmt.Errorf("encoding a public key: %w", err)
	}
	return key, base64.StdEncoding.EncodeToString(der), nil
}
