package command

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
)

// kubeconfig is the user's own, as kubectl would read it.
func kubeconfig(c *config.Config) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.Context})
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
		names := make([]string, 0, len(raw.Contexts))
		for name := range raw.Contexts {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, "", failure.New("it has "+strings.Join(names, ", "), "the kubeconfig has no context %q", c.Context)
	}
	client, err := kube.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", failure.New("understudy reads the file that kubectl reads: name it in KUBECONFIG or with --kubeconfig",
			"no cluster is configured in %s", strings.Join(kube.ConfigAccess().GetLoadingPrecedence(), ", "))
	}
	if err != nil {
		return nil, "", &failure.Failure{What: "there is no cluster to talk to", Hint: hint, Err: err}
	}
	namespace := c.Namespace
	if namespace == "" {
		if namespace, _, err = kube.Namespace(); err != nil {
			return nil, "", fmt.Errorf("finding the kubeconfig's namespace: %w", err)
		}
	}
	return client, namespace, nil
}
