// Package cluster is the tests' and the demo's way to the cluster: as its
// administrator, as ordinary users of it, and through the API server to its
// pods. It knows nothing of what is tested with it.
package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// OperatorNamespace is where `make install` puts the operator.
const OperatorNamespace = "understudy"

// Cluster is a connection to one cluster with an administrator's rights.
type Cluster struct {
	// REST is how the API server is reached.
	REST *rest.Config
	// Client speaks to the built-in resources.
	Client kubernetes.Interface
	// Dynamic speaks to all others.
	Dynamic dynamic.Interface
	// Own says that it is the cluster of test/cluster, whose processes run on
	// this machine; else it is the user's current one.
	Own bool
	// Kubeconfig is the file, or empty for the current context's.
	Kubeconfig string
	mapper     *restmapper.DeferredDiscoveryRESTMapper
}

// Connect reaches the cluster of test/cluster or, with CLUSTER=current in the
// environment, that of the current kubeconfig context.
func Connect() (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	own := os.Getenv("CLUSTER") != "current"
	if own {
		path, err := ownKubeconfig()
		if err != nil {
			return nil, err
		}
		rules.ExplicitPath = path
	}
	kubeconfig := rules.ExplicitPath
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig (is the cluster up? `make cluster-up`): %w", err)
	}
	if err := rest.LoadTLSFiles(config); err != nil { // so that a copy can be read by somebody else
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 200, 400 // many stories share the connection
	c := &Cluster{REST: config, Own: own, Kubeconfig: kubeconfig}
	if c.Client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	if c.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.Client.Discovery()))
	return c, nil
}

func ownKubeconfig() (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the kubeconfig: %w", err)
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "understudy", "cluster", "kubeconfig"), nil
}

// Get asks a pod's HTTP port through the API server.
func (c *Cluster) Get(ctx context.Context, namespace, pod string, port int, path string, query map[string]string) ([]byte, error) {
	req := c.Client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").
		Name(pod + ":" + strconv.Itoa(port)).SubResource("proxy").Suffix(path)
	for key, value := range query {
		req = req.Param(key, value)
	}
	return req.DoRaw(ctx)
}

// Post is Get with the method POST.
func (c *Cluster) Post(ctx context.Context, namespace, pod string, port int, path string, query map[string]string) ([]byte, error) {
	req := c.Client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").
		Name(pod + ":" + strconv.Itoa(port)).SubResource("proxy").Suffix(path)
	for key, value := range query {
		req = req.Param(key, value)
	}
	return req.DoRaw(ctx)
}

// PodOf names the one pod that bears the label app=name.
func (c *Cluster) PodOf(ctx context.Context, namespace, name string) (string, error) {
	pods, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return "", fmt.Errorf("looking for the pod of %s/%s: %w", namespace, name, err)
	}
	for _, p := range pods.Items {
		if p.DeletionTimestamp == nil {
			return p.Name, nil
		}
	}
	return "", fmt.Errorf("looking for the pod of %s/%s: there is none", namespace, name)
}
