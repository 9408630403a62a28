package command

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/config"
)

// kubeconfig is the user's own, as kubectl would read it.
func kubeconfig(c *config.Config) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: c.Context}
	overrides.ClusterInfo.InsecureSkipTLSVerify = c.AcceptInvalidCertificates
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
}

// cluster says how the API server is reached, and which namespace is meant.
func cluster(c *config.Config) (*rest.Config, string, error) {
	kube := kubeconfig(c)
	const hint = "try with kubectl first, or name another file with --kubeconfig"
	raw, err := kube.RawConfig()
	if err != nil {
		return nil, "", &failure.Failure{What: "the kubeconfig cannot be read", Hint: hint, Err: err}
	}
	if c.Context != "" && raw.Contexts[c.Context] == nil {
		return nil, "", failure.New("it has "+strings.Join(slices.Sorted(maps.Keys(raw.Contexts)), ", "), "the kubeconfig has no context %q", c.Context)
	}
	if wrong := wrongContext(&raw, cmp.Or(c.Context, raw.CurrentContext)); wrong != nil {
		return nil, "", wrong
	}
	client, err := kube.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", failure.New("understudy reads the file that kubectl reads: name it in KUBECONFIG or with --kubeconfig",
			"no cluster is configured%s", lookedIn(kube.ConfigAccess().GetLoadingPrecedence()))
	}
	if err != nil {
		return nil, "", &failure.Failure{What: "there is no cluster to talk to", Hint: hint, Err: err}
	}
	// By this an audit log tells who asked.
	client.UserAgent = fmt.Sprintf("understudy/%s (%s/%s)", release(), runtime.GOOS, runtime.GOARCH)
	namespace := c.Namespace
	if namespace == "" {
		if namespace, _, err = kube.Namespace(); err != nil {
			return nil, "", fmt.Errorf("finding the kubeconfig's namespace: %w", err)
		}
	}
	return client, namespace, nil
}

// wrongContext is what keeps a context from leading anywhere, of which client-go says
// only that there is no configuration.
func wrongContext(raw *clientcmdapi.Config, name string) error {
	context := raw.Contexts[name]
	switch {
	case name == "" && len(raw.Contexts) > 0:
		return failure.New("choose one with --context, or for kubectl too with kubectl config use-context; it has "+strings.Join(slices.Sorted(maps.Keys(raw.Contexts)), ", "),
			"the kubeconfig says of no context that it is the current one")
	case context == nil:
		return nil // there is none at all
	case raw.Clusters[context.Cluster] == nil:
		return failure.New("choose another with --context, or look with: kubectl config view", "context %q of the kubeconfig is of cluster %q, which is not in it", name, context.Cluster)
	case context.AuthInfo != "" && raw.AuthInfos[context.AuthInfo] == nil:
		return failure.New("choose another with --context, or look with: kubectl config view", "context %q of the kubeconfig is of user %q, who is not in it", name, context.AuthInfo)
	}
	return nil
}

// lookedIn says where no cluster was found, and which of that is not there.
func lookedIn(files []string) string {
	there := slices.DeleteFunc(slices.Clone(files), func(file string) bool {
		_, err := os.Stat(file)
		return errors.Is(err, fs.ErrNotExist)
	})
	if len(there) == 0 {
		return ": there is no file " + strings.Join(files, " or ")
	}
	return " in " + strings.Join(there, ", ")
}

// connect makes a client for the namespace that is meant, and says how it
// reaches the API server.
func connect(c *config.Config) (*session.Client, *rest.Config, error) {
	reach, namespace, err := cluster(c)
	if err != nil {
		return nil, nil, err
	}
	client, err := session.NewClient(reach, namespace)
	return client, reach, err
}
