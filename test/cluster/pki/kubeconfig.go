package pki

import (
	"encoding/json"
	"fmt"
)

// Context is the name of the one context of every kubeconfig made here.
const Context = "understudy"

// Kubeconfig returns a configuration, as JSON (which is YAML), by which its bearer
// is identity to the API server at server (a URL). Nothing in it is a path, so it
// may be copied to wherever it is used.
func (a *Authority) Kubeconfig(server string, identity Identity) ([]byte, error) {
	pair, err := a.Sign(identity)
	if err != nil {
		return nil, err
	}
	type named map[string]any
	config := named{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": Context,
		"clusters": []named{{"name": Context, "cluster": named{
			"server": server, "certificate-authority-data": a.CertificatePEM,
		}}},
		"users": []named{{"name": identity.Name, "user": named{
			"client-certificate-data": pair.CertificatePEM, "client-key-data": pair.KeyPEM,
		}}},
		"contexts": []named{{"name": Context, "context": named{
			"cluster": Context, "user": identity.Name,
		}}},
	}
	content, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing kubeconfig of %s: %w", identity.Name, err)
	}
	return append(content, '\n'), nil
}
