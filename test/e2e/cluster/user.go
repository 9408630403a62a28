package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"

	certificates "k8s.io/api/certificates/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// User is an ordinary user of the cluster: a name and a certificate, and no
// right but those that are granted.
type User struct {
	Name string
	cert []byte
	key  []byte
	rest *rest.Config
}

// NewUser has the cluster sign a certificate for the name, as an administrator
// would for a new colleague.
func (c *Cluster) NewUser(ctx context.Context, name string) (*User, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for user %s: %w", name, err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, fmt.Errorf("asking for a certificate for user %s: %w", name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("writing the key of user %s: %w", name, err)
	}
	requests := c.Client.CertificatesV1().CertificateSigningRequests()
	request, err := requests.Create(ctx, &certificates.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
		Spec: certificates.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: certificates.KubeAPIServerClientSignerName,
			Usages:     []certificates.KeyUsage{certificates.UsageClientAuth, certificates.UsageDigitalSignature},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking for a certificate for user %s: %w", name, err)
	}
	request.Status.Conditions = []certificates.CertificateSigningRequestCondition{{
		Type: certificates.CertificateApproved, Status: core.ConditionTrue, Reason: "NewColleague",
	}}
	if _, err := requests.UpdateApproval(ctx, request.Name, request, metav1.UpdateOptions{}); err != nil {
		return nil, fmt.Errorf("approving the certificate of user %s: %w", name, err)
	}
	user := &User{Name: name, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), rest: c.REST}
	err = Until(ctx, func(ctx context.Context) error {
		signed, err := requests.Get(ctx, request.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if user.cert = signed.Status.Certificate; len(user.cert) == 0 {
			return fmt.Errorf("the cluster has not signed it")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for the certificate of user %s: %w", name, err)
	}
	return user, requests.Delete(ctx, request.Name, metav1.DeleteOptions{})
}

// Grant binds a ClusterRole to the user in one namespace.
func (c *Cluster) Grant(ctx context.Context, user *User, namespace, clusterRole string) error {
	_, err := c.Client.RbacV1().RoleBindings(namespace).Create(ctx, &rbac.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user.Name + "-" + clusterRole},
		RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: clusterRole},
		Subjects:   []rbac.Subject{{APIGroup: rbac.GroupName, Kind: rbac.UserKind, Name: user.Name}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("granting %s in %s to %s: %w", clusterRole, namespace, user.Name, err)
	}
	return nil
}

// Kubeconfig writes the user's kubeconfig with the namespace as its default.
// With a server it is reached there instead (by way of something that passes
// its connections on); the API server's certificate is verified all the same.
func (u *User) Kubeconfig(namespace, server string) ([]byte, error) {
	own := &clientcmdapi.Cluster{
		Server: u.rest.Host, CertificateAuthorityData: u.rest.CAData, TLSServerName: u.rest.ServerName,
	}
	if server != "" {
		real, _, err := rest.DefaultServerUrlFor(u.rest)
		if err != nil {
			return nil, fmt.Errorf("reading the API server's address: %w", err)
		}
		own.Server, own.TLSServerName = server, real.Hostname()
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = own
	config.AuthInfos[u.Name] = &clientcmdapi.AuthInfo{ClientCertificateData: u.cert, ClientKeyData: u.key}
	config.Contexts["work"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: u.Name, Namespace: namespace}
	config.CurrentContext = "work"
	return clientcmd.Write(*config)
}

// REST is the API server as this user.
func (u *User) REST() *rest.Config {
	config := rest.AnonymousClientConfig(u.rest)
	config.CertData, config.KeyData = u.cert, u.key
	return config
}
