package session

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Client reaches the API server for one user, in one namespace.
type Client struct {
	// Kube is for the resources of Kubernetes itself.
	Kube kubernetes.Interface
	// Objects is for those of any kind.
	Objects dynamic.Interface
	// Namespace of the target and of the session.
	Namespace string

	sessions *gentype.ClientWithList[*v1alpha1.Session, *v1alpha1.SessionList]
	steady   kubernetes.Interface
}

// NewClient makes a Client.
//
// Sessions and Leases are spoken of over HTTP/1.1: there a request that gets
// no answer takes its connection with it, and the next one dials. On a shared
// HTTP/2 connection whose packets are dropped every further request would wait
// with it for most of a minute, and a lease would run out on a network that
// has long been back.
func NewClient(config *rest.Config, namespace string) (*Client, error) {
	config = rest.CopyConfig(config)
	// These few requests are limited by what they are for, not by a budget.
	config.QPS = -1
	if config.UserAgent == "" {
		config.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	config.NextProtos = []string{"http/1.1"}
	steady, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the session resource: %w", err)
	}
	group := v1alpha1.GroupVersion
	config.GroupVersion = &group
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	restClient, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &Client{
		Kube: kube, Objects: objects, Namespace: namespace, steady: steady,
		sessions: gentype.NewClientWithList[*v1alpha1.Session, *v1alpha1.SessionList](
			v1alpha1.Resource.Resource, restClient, runtime.NewParameterCodec(scheme), namespace,
			func() *v1alpha1.Session { return &v1alpha1.Session{} },
			func() *v1alpha1.SessionList { return &v1alpha1.SessionList{} }),
	}, nil
}

// Steady is for what must not wait for a connection that is dead.
func (c *Client) Steady() kubernetes.Interface { return c.steady }

// Targets looks targets up.
func (c *Client) Targets() target.Reader {
	return target.Reader{Objects: c.Objects, Discovery: c.Kube.Discovery()}
}
