package chart

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

const column = ".spec.owner.hostname"

// TestUpgradeAndUninstallKeepTheSessions follows one stored session through the
// life of the chart. The hooks need a node and are left out.
func TestUpgradeAndUninstallKeepTheSessions(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	kept := s.own(t, ns, "kept", "jane")
	step := func(want string, args ...string) {
		t.Helper()
		_, err := s.helm(t, args...)
		check(t, err, want)
		if t.Failed() {
			t.FailNow()
		}
	}
	there := func() {
		t.Helper()
		again := &v1alpha1.Session{}
		check(t, s.as(t, "").Get(t.Context(), client.ObjectKeyFromObject(kept), again), "")
		if again.UID != kept.UID {
			t.Error("the session is another one")
		}
	}

	// An upgrade upgrades the resource's definition.
	step("", "upgrade", releaseName, olderChart(t))
	if columns := s.columns(t); slices.Contains(columns, column) {
		t.Fatalf("the older chart has the column: %v", columns)
	}
	step("", "upgrade", releaseName, chartDir)
	if columns := s.columns(t); !slices.Contains(columns, column) {
		t.Errorf("after the upgrade the columns are %v", columns)
	}
	there()

	// An uninstall leaves the definition and what is stored, and nothing else.
	step("", "uninstall", releaseName, "--no-hooks")
	there()
	s.gone(t, &admissionregistrationv1.ValidatingAdmissionPolicy{}, "understudy-sessions")
	s.gone(t, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}, "understudy-sessions")
	s.gone(t, &admissionregistrationv1.MutatingAdmissionPolicy{}, "understudy-hold")
	s.gone(t, &rbacv1.ClusterRole{}, "understudy-operator")
	s.gone(t, &rbacv1.ClusterRole{}, "understudy-user")

	// Another release takes the definition over only when told to.
	step("invalid ownership metadata", "install", "other", chartDir)
	step("", "install", "other", chartDir, "--take-ownership")
	there()
	step("", "uninstall", "other", "--no-hooks")

	// The same release takes it over by itself.
	step("", "install", releaseName, chartDir, "--take-ownership")
	step("", "uninstall", releaseName, "--no-hooks")
	step("", "install", releaseName, chartDir)
	there()
	if err := s.waitForPolicies(t); err != nil {
		t.Fatal(err)
	}
}

// olderChart is the chart with a resource definition that lacks a column.
func olderChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "understudy")
	if err := os.CopyFS(dir, os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "files", "sessions-crd.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	entry := "    - jsonPath: " + column + "\n      name: Host\n      priority: 1\n      type: string\n"
	older := strings.Replace(string(text), entry, "", 1)
	if older == string(text) {
		t.Fatalf("the definition has no column of %s to leave out", column)
	}
	if err := os.WriteFile(file, []byte(older), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// columns are the paths that kubectl prints of a session.
func (s *server) columns(t *testing.T) []string {
	t.Helper()
	definition := &unstructured.Unstructured{}
	definition.SetAPIVersion("apiextensions.k8s.io/v1")
	definition.SetKind("CustomResourceDefinition")
	if err := s.as(t, "").Get(t.Context(), client.ObjectKey{Name: "sessions.understudy.dev"}, definition); err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	columns, _, _ := unstructured.NestedSlice(versions[0].(map[string]any), "additionalPrinterColumns")
	paths := make([]string, 0, len(columns))
	for _, c := range columns {
		paths = append(paths, c.(map[string]any)["jsonPath"].(string))
	}
	return paths
}

func (s *server) gone(t *testing.T, object client.Object, name string) {
	t.Helper()
	err := s.as(t, "").Get(t.Context(), client.ObjectKey{Name: name}, object)
	if client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("%T %s is still there (%v)", object, name, err)
	}
}

func TestSessionsOnlyInSelectedNamespaces(t *testing.T) {
	s := installed(t)
	dev := s.namespace(t, map[string]string{"stage": "dev", "team": "a"})
	prod := s.namespace(t, map[string]string{"stage": "prod", "team": "a"})
	bare := s.namespace(t, nil)
	defer func() {
		if _, err := s.helm(t, "upgrade", releaseName, chartDir, "--reset-values"); err != nil {
			t.Error(err)
		}
		for _, ns := range []string{dev, prod, bare} {
			s.waitForSession(t, ns, "")
		}
	}()
	const selector = "sessions.namespaceSelector."
	for _, test := range []struct {
		name    string
		set     string
		allowed []string
	}{
		{name: "by labels", set: selector + "matchLabels.stage=dev," + selector + "matchLabels.team=a", allowed: []string{dev}},
		{
			name:    "In",
			set:     selector + "matchExpressions[0].key=stage," + selector + "matchExpressions[0].operator=In," + selector + "matchExpressions[0].values={dev,prod}",
			allowed: []string{dev, prod},
		},
		{
			name:    "NotIn",
			set:     selector + "matchExpressions[0].key=stage," + selector + "matchExpressions[0].operator=NotIn," + selector + "matchExpressions[0].values={prod}",
			allowed: []string{dev, bare},
		},
		{
			name: "Exists and a label",
			set: selector + "matchExpressions[0].key=stage," + selector + "matchExpressions[0].operator=Exists," +
				selector + "matchLabels.team=a",
			allowed: []string{dev, prod},
		},
		{
			name:    "DoesNotExist",
			set:     selector + "matchExpressions[0].key=stage," + selector + "matchExpressions[0].operator=DoesNotExist",
			allowed: []string{bare},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := s.helm(t, "upgrade", releaseName, chartDir, "--reset-values", "--set", test.set); err != nil {
				t.Fatal(err)
			}
			jane := s.as(t, "jane", "system:masters")
			var got []string
			var last error
			err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
				got = nil
				for _, ns := range []string{dev, prod, bare} {
					if err := jane.Create(ctx, session(ns, "s", "jane"), client.DryRunAll); err == nil {
						got = append(got, ns)
					} else {
						last = err
					}
				}
				return slices.Equal(got, test.allowed), nil
			})
			if err != nil {
				t.Fatalf("sessions are allowed in %v, want %v", got, test.allowed)
			}
			check(t, last, "sessions are not allowed in namespace")
		})
	}
}
