package component

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.dev/understudy/test/cluster/build"
	"understudy.dev/understudy/test/cluster/layout"
)

func all(t *testing.T) []Component {
	t.Helper()
	components, err := All(layout.Layout{Root: "/cache"}, func(user string, groups ...string) ([]byte, error) {
		return []byte(user + strings.Join(groups, ",")), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return components
}

func TestFind(t *testing.T) {
	components := all(t)
	for asked, want := range map[string]string{
		"apiserver":      APIServer,
		"kube-apiserver": APIServer,
		"etcd":           Etcd,
		"node-2/kubelet": "node-2/kubelet",
	} {
		got, err := Find(components, asked)
		if err != nil || got.Name != want {
			t.Errorf("%s is %s (error %v), want %s", asked, got.Name, err, want)
		}
	}
	if _, err := Find(components, "kubelet"); err == nil || !strings.Contains(err.Error(), "node-1/kubelet") {
		t.Errorf("a name of two components: %v", err)
	}
}

func TestEveryProgramIsBuilt(t *testing.T) {
	built := map[string]bool{}
	for _, name := range build.Names() {
		built[name] = true
	}
	records := map[string]bool{}
	for _, one := range all(t) {
		if !built[one.Program] {
			t.Errorf("%s runs %s, which is not built", one.Name, one.Program)
		}
		if records[one.Record()] {
			t.Errorf("two components are recorded as %s", one.Record())
		}
		records[one.Record()] = true
	}
}

func TestDigest(t *testing.T) {
	folder := t.TempDir()
	program := filepath.Join(folder, "program")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	base := Component{Program: "p", Args: []string{"--a"}, Files: map[string][]byte{"/c": []byte("1"), "/u.kubeconfig": []byte("1")}}
	digest := func(change func(*Component)) string {
		changed := base
		changed.Files = map[string][]byte{}
		for path, content := range base.Files {
			changed.Files[path] = content
		}
		change(&changed)
		sum, err := changed.Digest(program)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	same := digest(func(*Component) {})
	if digest(func(c *Component) { c.Files["/u.kubeconfig"] = []byte("2") }) != same {
		t.Error("a new key in a kubeconfig counts as a change")
	}
	if digest(func(c *Component) { c.Args = []string{"--b"} }) == same {
		t.Error("other arguments do not count as a change")
	}
	if digest(func(c *Component) { c.Files["/c"] = []byte("2") }) == same {
		t.Error("another configuration does not count as a change")
	}
}
