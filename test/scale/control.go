package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// controllers that the workloads need.
const controllers = "deployment-controller,replicaset-controller,garbage-collector-controller,namespace-controller,serviceaccount-controller"

// plane is a control plane of the measurement's own.
type plane struct {
	client.WithWatch
	config      *rest.Config
	environment *envtest.Environment
	folder      string
	programs    []*exec.Cmd
}

func start(s size) (*plane, error) {
	log.SetLogger(logr.Discard())
	if s.programs == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("finding the programs: %w", err)
		}
		s.programs = filepath.Join(cache, "understudy", "bin")
	}
	p := &plane{environment: &envtest.Environment{}}
	etcd := &envtest.Etcd{Path: filepath.Join(s.programs, "etcd")}
	// The disk of this machine is not what is measured.
	etcd.Configure().Append("unsafe-no-fsync", "true").Append("quota-backend-bytes", "8589934592")
	p.environment.ControlPlane.Etcd = etcd
	p.environment.ControlPlane.GetAPIServer().Path = filepath.Join(s.programs, "kube-apiserver")
	var err error
	if p.config, err = p.environment.Start(); err != nil {
		return nil, fmt.Errorf("starting the API server: %w", err)
	}
	p.config.QPS = -1
	if p.folder, err = os.MkdirTemp("", "understudy-scale-"); err != nil {
		return p, fmt.Errorf("making a folder: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return p, fmt.Errorf("registering types: %w", err)
	}
	if p.WithWatch, err = client.NewWithWatch(p.config, client.Options{Scheme: scheme}); err != nil {
		return p, fmt.Errorf("making a client: %w", err)
	}
	kubeconfig, err := p.kubeconfig("admin", p.config, "")
	if err != nil {
		return p, err
	}
	_, err = p.run(filepath.Join(s.programs, "kube-controller-manager"), "controllers.log",
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--controllers="+controllers, "--leader-elect=false", "--secure-port=0", "--use-service-account-credentials=false",
		// What large clusters give it, or its own limits would be what is measured.
		"--kube-api-qps=1000", "--kube-api-burst=2000", "--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20")
	return p, err
}

// kubeconfig writes one that acts as somebody.
func (p *plane) kubeconfig(name string, c *rest.Config, as string) (string, error) {
	k := *clientcmdapi.NewConfig()
	k.Clusters["scale"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	k.AuthInfos["scale"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData, Impersonate: as}
	k.Contexts["scale"] = &clientcmdapi.Context{Cluster: "scale", AuthInfo: "scale"}
	k.CurrentContext = "scale"
	file := filepath.Join(p.folder, name+".kubeconfig")
	if err := clientcmd.WriteToFile(k, file); err != nil {
		return "", fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return file, nil
}

// run starts a program that ends with this one.
func (p *plane) run(program, logName string, args ...string) (*exec.Cmd, error) {
	said, err := os.Create(filepath.Join(p.folder, logName))
	if err != nil {
		return nil, fmt.Errorf("making a log: %w", err)
	}
	defer said.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(program), err)
	}
	p.programs = append(p.programs, cmd)
	return cmd, nil
}

func (p *plane) stop() error {
	for i := len(p.programs) - 1; i >= 0; i-- {
		_ = p.programs[i].Process.Kill()
		_ = p.programs[i].Wait()
	}
	err := p.environment.Stop()
	return errors.Join(err, os.RemoveAll(p.folder))
}

// install brings in all of the chart but what runs in pods.
func (p *plane) install(ctx context.Context, s size) error {
	if s.programs == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("finding helm: %w", err)
		}
		s.programs = filepath.Join(cache, "understudy", "bin")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs, "helm"), "template", "understudy", s.chart, "--namespace", "understudy", "--no-hooks", "--kube-version", "v1.37.2",
		"--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	rendered, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("rendering the chart: %w: %s", err, complaints.String())
	}
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "understudy"}}}
	if err := p.Create(ctx, namespace); err != nil {
		return fmt.Errorf("making the operator's namespace: %w", err)
	}
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(rendered), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := documents.Decode(object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the chart: %w", err)
		}
		if len(object.Object) == 0 || object.GetKind() == "Deployment" || object.GetKind() == "Job" {
			continue
		}
		if err := p.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("installing %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}
