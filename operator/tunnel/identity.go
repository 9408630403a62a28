package tunnel

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Fingerprint of a public key: lower-case hex of the SHA-256 of its PKIX DER,
// 64 characters.
func Fingerprint(pkix []byte) string {
	sum := sha256.Sum256(pkix)
	return hex.EncodeToString(sum[:])
}

// KeyFingerprint is the same for a key in memory.
func KeyFingerprint(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("encoding a public key: %w", err)
	}
	return Fingerprint(der), nil
}

// selfSigned is a certificate for key. Nothing in it counts but the key: both
// ends know each other's beforehand.
func selfSigned(key crypto.Signer) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "understudy"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("signing the end's own certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// pinned is the configuration of either end: TLS 1.3, own certificate, and the
// other end's key as expected.
func pinned(own tls.Certificate, fingerprint string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{own},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		// The chain and the name say nothing; VerifyConnection looks at the key.
		InsecureSkipVerify:          true,
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) != 1 {
				return fmt.Errorf("%w: %d certificates", ErrIdentity, len(state.PeerCertificates))
			}
			theirs := Fingerprint(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if subtle.ConstantTimeCompare([]byte(theirs), []byte(fingerprint)) != 1 {
				return fmt.Errorf("%w: its key is %s, expected %s", ErrIdentity, theirs, fingerprint)
			}
			return nil
		},
	}
}

// secured is a TLS connection that is closed without a word: what ends a link
// is said inside it, and a word could get stuck behind a write.
type secured struct {
	*tls.Conn
	raw *gathering
}

func (s secured) Close() error { return s.raw.Close() }

// Write sends p, whatever number of records it takes, as one piece.
func (s secured) Write(p []byte) (int, error) {
	if len(p) <= maxPlaintext {
		return s.Conn.Write(p)
	}
	s.raw.hold()
	n, err := s.Conn.Write(p)
	if flushed := s.raw.flush(); err == nil && flushed != nil {
		// Some of it may have left: as with any connection, it is of no use now.
		return 0, flushed
	}
	return n, err
}

// secure makes raw a TLS connection, as the dialling end. It closes raw on an
// error.
func secure(ctx context.Context, raw net.Conn, config *tls.Config) (net.Conn, error) {
	below := &gathering{Conn: raw}
	conn := tls.Client(below, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("proving both ends' keys: %w", refusal(err))
	}
	return secured{conn, below}, nil
}

// refusal makes the other end's TLS alert an ErrIdentity: with both ends of
// one make there is nothing else that they could disagree on.
func refusal(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return fmt.Errorf("%w: it refuses this end's key: %w", ErrIdentity, err)
	}
	return err
}
