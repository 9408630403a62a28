// Package settings is what the operator tells one agent: the content of the
// Secret that it makes for each incarnation of a stand-in and mounts only in
// the agent's container. It has no dependency but the tunnel's and the probes' own types, so
// that the operator, which writes it, and the agent, which reads it, can share
// it without sharing more.
package settings

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"understudy.dev/understudy/operator/fence/probe"
	"understudy.dev/understudy/operator/tunnel"
)

const (
	// Directory is where the Secret is mounted in the agent's container.
	Directory = "/understudy.dev/agent"
	// BinaryDirectory is where the agent's own binary is found in its
	// container: an image volume, or an emptyDir filled by an init container.
	BinaryDirectory = "/understudy.dev/bin"
	// Binary is the agent's binary in the container.
	Binary = BinaryDirectory + "/understudy-agent"
	// OnceDirectory lives as long as the pod of an agent on a node, over restarts
	// of its container and of the node: an agent that finds its mark there was
	// here before, and may only thaw.
	OnceDirectory = "/understudy.dev/once"
	// ReadySocket is where an agent on a node is asked whether it has frozen: a
	// file, which is the same from every network namespace.
	ReadySocket = "ready"
	// KeyFile is the Secret's key with the agent's private key (PKCS#8, PEM,
	// ECDSA P-256 or Ed25519).
	KeyFile = "key.pem"
	// ConfigFile is the Secret's key with Config as JSON.
	ConfigFile = "config.json"
	// DefaultPort is the port on the pod's loopback that the agent listens on
	// unless the container itself uses it.
	DefaultPort = 7447
	// NothingDone begins the last word of an agent on a node that has found the
	// pod in another session's hands; what follows says whose.
	NothingDone = "nothing was done: "
	// NothingThere begins the last word of an agent that was to thaw a pod of which
	// nothing runs on its node: it has ended, or the node calls it something else.
	NothingThere = "nothing of the pod runs on its node"
	// TooLate begins the last word of one that was started when nobody waited for
	// it any more.
	TooLate = NothingDone + "it was to begin by "
	// maxFile bounds what is read of either file: a Secret's own limit.
	maxFile = 1 << 20
)

// Config is the agent's whole configuration.
type Config struct {
	// Session is the UID of the Session.
	Session string `json:"session"`
	// Port on 127.0.0.1 that the agent listens on.
	Port uint16 `json:"port"`
	// ClientKey is the owner's public key, PKIX DER (base64 in the JSON).
	ClientKey []byte `json:"clientKey"`
	// LeaseSeconds after which an owner that is not heard of is cut off.
	LeaseSeconds int `json:"leaseSeconds"`
	// Ports that may be opened in the cluster.
	Ports []tunnel.Port `json:"ports,omitempty"`
	// ListenAll allows every port.
	ListenAll bool `json:"listenAll,omitempty"`
	// Mounts are the paths of the config map, secret, projected and downward
	// API volumes of the replaced container.
	Mounts []string `json:"mounts,omitempty"`
	// ServicePorts are the TCP target ports of the Services that select the
	// pod: all must be listened on before the pod is ready.
	ServicePorts []uint16 `json:"servicePorts,omitempty"`
	// ShareTraffic lets the pod become ready at all, and so take the Services'
	// traffic: false for a copy beside its running target, unless its owner
	// asked for a share.
	ShareTraffic bool `json:"shareTraffic,omitempty"`
	// Freeze is what an agent on a node freezes, or attaches to; nil in a stand-in.
	Freeze *Freeze `json:"freeze,omitempty"`
}

// Freeze is one container on the agent's node, frozen or attached to.
type Freeze struct {
	// Pod and PodUID are the pod's namespace/name, for messages, and UID.
	Pod    string `json:"pod"`
	PodUID string `json:"podUID"`
	// Container is its name, and ContainerID the runtime's, without the scheme,
	// when it was recorded.
	Container   string `json:"container"`
	ContainerID string `json:"containerID"`
	// Freezer is the hierarchy to freeze in, "v1" or "v2"; empty to choose.
	Freezer string `json:"freezer,omitempty"`
	// Owner of the session, to be named to whoever comes second.
	Owner string `json:"owner,omitempty"`
	// Attach leaves it running: nothing is frozen and nobody refused, and only the
	// ports that the owner listens on are taken from it.
	Attach bool `json:"attach,omitempty"`
	// NotAfter is when nobody waits for the agent any more: it does not begin then.
	// Zero is never.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// GraceSeconds is how long the pod gives a container that is told to end.
	GraceSeconds int `json:"graceSeconds,omitempty"`
	// Release has its connections cut once it is frozen.
	Release bool `json:"release"`
	// Probes are the kubelet's over the network, to be answered for it.
	Probes []probe.Probe `json:"probes,omitempty"`
	// ProbesInPod answers those too that another of the pod's containers passes
	// on, as meshes do.
	ProbesInPod bool `json:"probesInPod,omitempty"`
}

// Validate says what is wrong with c, all of it.
func (c *Config) Validate() error {
	var wrong []error
	if c.Session == "" {
		wrong = append(wrong, errors.New("session is empty"))
	}
	if c.Port == 0 {
		wrong = append(wrong, errors.New("port is 0"))
	}
	if _, err := x509.ParsePKIXPublicKey(c.ClientKey); err != nil {
		wrong = append(wrong, fmt.Errorf("clientKey is not a PKIX public key: %w", err))
	}
	if c.LeaseSeconds <= 0 {
		wrong = append(wrong, fmt.Errorf("leaseSeconds is %d", c.LeaseSeconds))
	}
	for _, mount := range c.Mounts {
		if !filepath.IsAbs(mount) || filepath.Clean(mount) != mount {
			wrong = append(wrong, fmt.Errorf("mount %q is not an absolute clean path", mount))
		}
	}
	if f := c.Freeze; f != nil {
		if f.Freezer != "" && f.Freezer != "v1" && f.Freezer != "v2" {
			wrong = append(wrong, fmt.Errorf("the freezer is %q, not v1 or v2", f.Freezer))
		}
		for what, value := range map[string]string{"pod's UID": f.PodUID, "container": f.Container, "container's ID": f.ContainerID} {
			// They become parts of paths of the node.
			if value == "" || strings.ContainsAny(value, "/\x00") || strings.HasPrefix(value, ".") {
				wrong = append(wrong, fmt.Errorf("the %s to freeze is %q", what, value))
			}
		}
	}
	return errors.Join(wrong...)
}

// Load reads the configuration and the private key from dir. Fields that this
// version does not know are refused: they could be restrictions.
func Load(dir string) (*Config, crypto.Signer, error) {
	config, err := LoadConfig(dir)
	if err != nil {
		return nil, nil, err
	}
	key, err := loadKey(filepath.Join(dir, KeyFile))
	if err != nil {
		return nil, nil, err
	}
	return config, key, nil
}

// LoadConfig reads the configuration alone.
func LoadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, ConfigFile)
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the agent's configuration: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var config Config
	if err := decoder.Decode(&config); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", path, err)
	}
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("checking %s: %w", path, err)
	}
	return &config, nil
}

func loadKey(path string) (crypto.Signer, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the agent's key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("decoding %s: no PEM block of type PRIVATE KEY", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("decoding %s: %w", path, err)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("decoding %s: a %T cannot sign", path, parsed)
	}
	return signer, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, nil
}
