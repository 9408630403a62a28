package dns

import (
	"encoding/json"
	"strings"
	"testing"
)

// The path says where an object is kept, the object says what it is: both must agree.
func TestObjectsMatchTheirPaths(t *testing.T) {
	objects, err := Objects()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, one := range objects {
		var content struct {
			APIVersion, Kind string
			Metadata         struct{ Name, Namespace string }
		}
		if err := json.Unmarshal(one.Content, &content); err != nil {
			t.Fatal(err)
		}
		prefix := "/apis/" + content.APIVersion
		if content.APIVersion == "v1" {
			prefix = "/api/v1"
		}
		if content.Metadata.Namespace != "" {
			prefix += "/namespaces/" + content.Metadata.Namespace
		}
		if want := prefix + "/" + strings.ToLower(content.Kind) + "s/" + content.Metadata.Name; one.Path != want {
			t.Errorf("path %s, want %s", one.Path, want)
		}
		found = found || one.Path == DeploymentPath
	}
	if !found {
		t.Errorf("no object is at %s, which is waited for", DeploymentPath)
	}
}
