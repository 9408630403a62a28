// Package apiserver asks the cluster's API server for the few things that bringing
// the cluster up needs, in plain HTTP and JSON: a client library would take longer
// to compile than the cluster takes to start.
package apiserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// FieldManager is the name under which objects are applied.
const FieldManager = "understudy-cluster"

// Client speaks to one API server as one user.
type Client struct {
	// Server is its URL, https://127.0.0.1:16443.
	Server string
	http   *http.Client
}

// FromKubeconfig reads a kubeconfig that package pki wrote.
func FromKubeconfig(path string) (*Client, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server    string `json:"server"`
				Authority []byte `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User struct {
				Certificate []byte `json:"client-certificate-data"`
				Key         []byte `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	if len(config.Clusters) != 1 || len(config.Users) != 1 {
		return nil, fmt.Errorf("reading kubeconfig %s: want one cluster and one user", path)
	}
	certificate, err := tls.X509KeyPair(config.Users[0].User.Certificate, config.Users[0].User.Key)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(config.Clusters[0].Cluster.Authority)
	return &Client{
		Server: config.Clusters[0].Cluster.Server,
		http: &http.Client{
			Timeout: 5 * time.Second,
			Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: authorities, Certificates: []tls.Certificate{certificate}},
				// An API server that is restarted leaves connections behind that hang.
				DisableKeepAlives: true,
			},
		},
	}, nil
}

// Ready says whether the API server says that it is ready to serve.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, "/readyz", "", nil, nil)
}

// Apply writes an object by server-side apply. path is that of the object itself.
func (c *Client) Apply(ctx context.Context, path string, object []byte) error {
	return c.do(ctx, http.MethodPatch, path+"?force=true&fieldManager="+FieldManager, "application/apply-patch+yaml", object, nil)
}

// Get reads an object; into is filled from its JSON.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, "", nil, into)
}

// ErrNotFound is the answer that there is no such object.
var ErrNotFound = errors.New("not found")

func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.Server+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the API server: %w", err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("asking the API server: %w", err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("asking the API server: %w", err)
	}
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("asking the API server: %s %s: %w", method, path, ErrNotFound)
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("asking the API server: %s %s: %s: %s", method, path, response.Status, content)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("asking the API server: %s %s: %w", method, path, err)
	}
	return nil
}
