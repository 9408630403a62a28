// Package pki makes the certificates of the cluster: authorities, servers,
// components and users. Keys are ECDSA P-256, which take no time to make, and
// everything is valid for a year: a cluster for tests is made anew long before.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

const lifetime = 365 * 24 * time.Hour

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
	// CertificatePEM and KeyPEM are the authority's own.
	CertificatePEM, KeyPEM []byte
}

// Identity is whom a certificate is for.
type Identity struct {
	// Name is the common name: to the API server, the user.
	Name string
	// Groups are the organizations: to the API server, the user's groups.
	Groups []string
	// DNSNames and Addresses are those that a server is reached by.
	DNSNames  []string
	Addresses []netip.Addr
}

// Pair is a certificate with its key, both PEM.
type Pair struct{ CertificatePEM, KeyPEM []byte }

// NewAuthority makes a self-signed authority.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making authority %s: %w", name, err)
	}
	template, err := newTemplate(Identity{Name: name})
	if err != nil {
		return nil, fmt.Errorf("making authority %s: %w", name, err)
	}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making authority %s: %w", name, err)
	}
	pair, err := encode(der, key)
	if err != nil {
		return nil, fmt.Errorf("making authority %s: %w", name, err)
	}
	return parse(pair)
}

// LoadAuthority reads what Save wrote.
func LoadAuthority(folder, name string) (*Authority, error) {
	certificate, err := os.ReadFile(filepath.Join(folder, name+".crt"))
	if err != nil {
		return nil, fmt.Errorf("reading authority %s: %w", name, err)
	}
	key, err := os.ReadFile(filepath.Join(folder, name+".key"))
	if err != nil {
		return nil, fmt.Errorf("reading authority %s: %w", name, err)
	}
	authority, err := parse(Pair{certificate, key})
	if err != nil {
		return nil, fmt.Errorf("reading authority %s: %w", name, err)
	}
	return authority, nil
}

func parse(pair Pair) (*Authority, error) {
	certificate, _ := pem.Decode(pair.CertificatePEM)
	key, _ := pem.Decode(pair.KeyPEM)
	if certificate == nil || key == nil {
		return nil, errors.New("no PEM block")
	}
	parsed, err := x509.ParseCertificate(certificate.Bytes)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of type %T can not sign", private)
	}
	return &Authority{certificate: parsed, key: signer, CertificatePEM: pair.CertificatePEM, KeyPEM: pair.KeyPEM}, nil
}

// Sign makes a certificate that is good for both ends of a connection.
func (a *Authority) Sign(identity Identity) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("signing for %s: %w", identity.Name, err)
	}
	template, err := newTemplate(identity)
	if err != nil {
		return Pair{}, fmt.Errorf("signing for %s: %w", identity.Name, err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("signing for %s: %w", identity.Name, err)
	}
	return encode(der, key)
}

// Save writes the pair as NAME.crt and NAME.key, readable by their owner only.
func (p Pair) Save(folder, name string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("saving certificate %s: %w", name, err)
	}
	for suffix, content := range map[string][]byte{".crt": p.CertificatePEM, ".key": p.KeyPEM} {
		if err := os.WriteFile(filepath.Join(folder, name+suffix), content, 0o600); err != nil {
			return fmt.Errorf("saving certificate %s: %w", name, err)
		}
	}
	return nil
}

// Pair returns the authority's own certificate and key.
func (a *Authority) Pair() Pair { return Pair{a.CertificatePEM, a.KeyPEM} }

func newTemplate(identity Identity) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	var addresses []net.IP
	for _, address := range identity.Addresses {
		addresses = append(addresses, address.AsSlice())
	}
	// An hour back, for clocks that are not quite right.
	start := time.Now().Add(-time.Hour)
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: identity.Name, Organization: identity.Groups},
		NotBefore:             start,
		NotAfter:              start.Add(lifetime),
		DNSNames:              identity.DNSNames,
		IPAddresses:           addresses,
		BasicConstraintsValid: true,
	}, nil
}

func encode(der []byte, key *ecdsa.PrivateKey) (Pair, error) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		CertificatePEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}
