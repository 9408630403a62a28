// Package controller runs another project's controller for one story: KEDA's
// operator or that of Argo Rollouts, in the story's own namespace and looking at
// that alone. Their resources are the cluster's; they are taken away with it.
package controller

import (
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/test/e2e/cluster"
)

//go:embed *.yaml
var manifests embed.FS

// Controller is one of them.
type Controller struct {
	// Name of its deployment, and of its manifest here.
	Name string
	// variable names its image, and with _FILES its resources' definitions.
	variable string
	// kind is the one that stories are about.
	kind schema.GroupKind
}

// The controllers that stories are told of.
var (
	KEDA     = Controller{Name: "keda", variable: "E2E_KEDA", kind: schema.GroupKind{Group: "keda.sh", Kind: "ScaledObject"}}
	Rollouts = Controller{Name: "rollouts", variable: "E2E_ROLLOUTS", kind: schema.GroupKind{Group: "argoproj.io", Kind: "Rollout"}}
)

// Missing says why a controller cannot be run here; empty when it can.
func (c Controller) Missing() string {
	if os.Getenv(c.variable) == "" {
		return fmt.Sprintf("SKIPPED: %s is empty: `make e2e-controllers` builds %s and sets it", c.variable, c.Name)
	}
	return ""
}

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// Run runs it in the namespace. stop takes away what the namespace does not take
// with it.
func (c Controller) Run(ctx context.Context, on *cluster.Cluster, namespace string) (stop func(context.Context) error, err error) {
	files, err := filepath.Glob(filepath.Join(os.Getenv(c.variable+"_FILES"), "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("finding the resources of %s in %s_FILES: %d, %w", c.Name, c.variable, len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the resources of %s: %w", c.Name, err)
		}
		if !bytes.Contains(content, []byte("kind: CustomResourceDefinition")) {
			continue
		}
		if err := on.ApplyForced(ctx, "e2e", "", content); err != nil {
			return nil, err
		}
	}
	binding := &rbac.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: c.Name + "-" + namespace},
		RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbac.Subject{{Kind: rbac.ServiceAccountKind, Namespace: namespace, Name: "default"}},
	}
	if _, err := on.Client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("giving %s its rights: %w", c.Name, err)
	}
	stop = func(ctx context.Context) error { return c.remove(ctx, on, binding.Name) }
	manifest, err := c.manifest(namespace)
	if err != nil {
		return stop, err
	}
	if err := on.Apply(ctx, "e2e", namespace, manifest); err != nil {
		return stop, err
	}
	if err := on.Available(ctx, namespace, c.Name, 1); err != nil {
		return stop, err
	}
	return stop, on.Learn(ctx, c.kind)
}

func (c Controller) manifest(namespace string) ([]byte, error) {
	text, err := template.ParseFS(manifests, c.Name+".yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the manifest of %s: %w", c.Name, err)
	}
	certificate, key, err := selfSigned(c.Name, time.Now())
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = text.Execute(&out, map[string]string{
		"Image": os.Getenv(c.variable), "Namespace": namespace,
		"Certificate": base64.StdEncoding.EncodeToString(certificate), "Key": base64.StdEncoding.EncodeToString(key),
	})
	if err != nil {
		return nil, fmt.Errorf("filling in the manifest of %s: %w", c.Name, err)
	}
	return out.Bytes(), nil
}

// remove takes away its resources, with these every object of theirs, and then its
// rights. The resources are waited for: a story that comes next brings them again.
func (c Controller) remove(ctx context.Context, on *cluster.Cluster, binding string) error {
	err := cluster.Until(ctx, func(ctx context.Context) error {
		list, err := on.Dynamic.Resource(definitions).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, definition := range list.Items {
			if !strings.HasSuffix(definition.GetName(), "."+c.kind.Group) {
				continue
			}
			if definition.GetDeletionTimestamp() == nil {
				if err := on.Dynamic.Resource(definitions).Delete(ctx, definition.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
					return err
				}
			}
			return fmt.Errorf("the resource %s is still there", definition.GetName())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("taking the resources of %s away: %w", c.Name, err)
	}
	// Last, because it takes its finalizers off by them.
	if err := on.Client.RbacV1().ClusterRoleBindings().Delete(ctx, binding, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("taking the rights of %s away: %w", c.Name, err)
	}
	return nil
}
