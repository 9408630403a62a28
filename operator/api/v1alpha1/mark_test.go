package v1alpha1

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What Flux owns is marked, unless somebody has said something about it himself,
// and afterwards it says what it said before.
func TestMarks(t *testing.T) {
	const kustomize, helm = "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"
	for name, c := range map[string]struct {
		labels, annotations map[string]string
		want                []string
	}{
		"nobody's":                 {map[string]string{"app": "worker"}, nil, nil},
		"no labels":                {nil, nil, nil},
		"a Kustomization's":        {map[string]string{kustomize + "name": "apps"}, nil, []string{kustomize + "reconcile"}},
		"a HelmRelease's":          {map[string]string{helm + "name": "worker"}, nil, []string{helm + "driftDetection"}},
		"of both":                  {map[string]string{kustomize + "name": "apps", helm + "name": "worker"}, nil, []string{kustomize + "reconcile", helm + "driftDetection"}},
		"disabled by a label":      {map[string]string{kustomize + "name": "apps", kustomize + "reconcile": "disabled"}, nil, nil},
		"disabled by annotation":   {map[string]string{kustomize + "name": "apps"}, map[string]string{kustomize + "reconcile": "Disabled"}, nil},
		"enabled by a label":       {map[string]string{kustomize + "name": "apps", kustomize + "reconcile": "enabled"}, nil, nil},
		"an annotation of its own": {map[string]string{kustomize + "name": "apps"}, map[string]string{kustomize + "reconcile": "enabled"}, []string{kustomize + "reconcile"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := maps.Clone(c.labels)
			var got []string
			for _, m := range Wanted(c.labels, c.annotations) {
				got = append(got, m.Key)
				m.Put(c.labels)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if Marked(c.labels) != (len(c.want) > 0) {
				t.Errorf("marked: %v", c.labels)
			}
			if again := Wanted(c.labels, c.annotations); len(again) > 0 {
				t.Errorf("it is still to get %v", again)
			}
			Unmark(c.labels)
			if diff := cmp.Diff(before, c.labels); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What somebody makes of a mark meanwhile is theirs.
func TestMarkChanged(t *testing.T) {
	m := Marks[0]
	labels := map[string]string{}
	m.Put(labels)
	labels[m.Key] = "enabled"
	Unmark(labels)
	if diff := cmp.Diff(map[string]string{m.Key: "enabled"}, labels); diff != "" {
		t.Error(diff)
	}
	// Of one that lost our own half only who remembers it knows.
	labels[m.Key] = MarkValue
	Unmark(labels)
	if labels[m.Key] == "" {
		t.Error("somebody's own label was taken off")
	}
	Unmark(labels, m.Key)
	if len(labels) > 0 {
		t.Errorf("left: %v", labels)
	}
}
