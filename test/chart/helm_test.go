package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const (
	chartDir         = "../../charts/understudy"
	releaseName      = "understudy"
	releaseNamespace = "understudy"
)

// program finds one of the programs that the tests run.
func program(t *testing.T, name string) string {
	t.Helper()
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		path := filepath.Join(assets, name)
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("KUBEBUILDER_ASSETS is set, but has no %s: %v", name, err)
		}
		return path
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	if path := filepath.Join(cache, "understudy", "bin", name); isFile(path) {
		return path
	}
	if path, err := exec.LookPath(name); err == nil && name == "helm" {
		return path
	}
	t.Skipf("no %s: the test cluster's build makes it, or set KUBEBUILDER_ASSETS to a folder with helm, etcd, kube-apiserver and kube-controller-manager", name)
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// helm runs the real helm, which knows no repository and no plugin of whoever
// runs the tests.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program(t, "helm"), args...)
	cmd.Env = []string{
		"HOME=" + home, "HELM_CACHE_HOME=" + home + "/cache", "HELM_CONFIG_HOME=" + home + "/config",
		"HELM_DATA_HOME=" + home + "/data", "HELM_NAMESPACE=" + releaseNamespace,
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// apiVersions that a server of Kubernetes 1.37 has and the rendering asks for.
var modern = []string{"--kube-version=1.37.2", "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"}

// render renders the chart without a server.
func render(t *testing.T, args ...string) (objects, error) {
	t.Helper()
	out, err := helm(t, append([]string{"template", releaseName, chartDir}, args...)...)
	if err != nil {
		return nil, err
	}
	return parse(t, out), nil
}

// objects are the rendered objects by "Kind/name".
type objects map[string]*unstructured.Unstructured

func parse(t *testing.T, text string) objects {
	t.Helper()
	all := objects{}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return all
			}
			t.Fatalf("reading what helm rendered: %v", err)
		}
		if len(object.Object) == 0 {
			continue
		}
		key := object.GetKind() + "/" + object.GetName()
		if all[key] != nil {
			t.Fatalf("%s is rendered twice", key)
		}
		all[key] = object
	}
}

// names of all objects, sorted.
func (o objects) names() []string {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// into converts the object of that key to its type.
func into[T any](t *testing.T, o objects, key string) *T {
	t.Helper()
	object := o[key]
	if object == nil {
		t.Fatalf("no %s among %v", key, o.names())
	}
	typed := new(T)
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, typed, true)
	if err != nil {
		t.Fatalf("%s has fields that its type has not: %v", key, err)
	}
	return typed
}
