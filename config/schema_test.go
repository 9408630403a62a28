package config

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"understudy.dev/understudy/config/source"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(SchemaID, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// agree holds the schema's verdict on a text against the reader's.
func agree(t *testing.T, schema *jsonschema.Schema, name string, text []byte) {
	t.Helper()
	variables := source.Variables{Key: "k", Env: func(string) (string, bool) { return "x", true }}
	rendered, err := source.Render(name, text, variables)
	if err != nil {
		t.Fatal(err)
	}
	root, err := source.Parse(name, source.FormatOf(name), rendered.Text)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), rendered.Text, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := map[string]string{"UNDERSTUDY_CONFIG_FILE": filepath.Base(name)}
	l := &loading{dir: dir, environ: func(variable string) (string, bool) { v, ok := environ[variable]; return v, ok }}
	_, wrong := l.load()
	invalid := schema.Validate(root.Plain())
	if (wrong == nil) != (invalid == nil) {
		t.Errorf("%s: %s\nthe reader says: %v\nthe schema says: %v", name, rendered.Text, wrong, invalid)
	}
}

// TestSchemaOfLegacy: the schema allows exactly those of other people's files
// that are read.
func TestSchemaOfLegacy(t *testing.T) {
	schema := compiled(t)
	for _, file := range legacyFiles(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, schema, file, text)
	}
}

// TestSchema: the same of small texts, right and wrong.
func TestSchema(t *testing.T) {
	schema := compiled(t)
	for _, text := range []string{
		`{}`, `{"$schema": "x"}`, `{"takeover": "copy", "lease": "90s", "setup_timeout": 30}`, `{"takeover": "nap"}`, `{"lease": "soon"}`, `{"lease": true}`,
		`{"listen": [80, "all"]}`, `{"listen": "80,all"}`, `{"listen": "80;81, all;"}`, `{"listen": "80:81"}`, `{"listen": 70000}`, `{"listen": ["x"]}`, `{"listen": null}`,
		`{"target": null}`, `{"target": "deployment/x"}`, `{"target": 3}`, `{"target": {"path": "pod/x", "namespace": "y"}}`, `{"target": {"path": {"pod": "x", "container": "c"}}}`,
		`{"target": {"deployment": "a", "pod": null}}`, `{"target": {"deployment": "a", "pod": "b"}}`, `{"target": {"labels": {"a": "b"}}}`, `{"target": {"path": {"namespace": "x"}}}`, `{"target": {"path": 3}}`,
		`{"feature": {"env": false, "fs": "local", "network": false, "copy_target": true, "hostname": false}}`, `{"feature": {"fs": "reed"}}`, `{"feature": {"fs": {"mode": "write", "local": ".*", "read_only": ["a"]}}}`,
		`{"feature": {"env": {"include": "a;b", "override": {"A": "1", "B": 2, "C": true}, "mapping": {"a": "b"}}}}`, `{"feature": {"env": {"override": {"A": null}}}}`, `{"feature": {"env": 3}}`,
		`{"feature": {"network": {"incoming": "steal"}}}`, `{"feature": {"network": {"incoming": "stael"}}}`, `{"feature": {"network": {"incoming": {"ports": [80], "ignore_ports": 81, "port_mapping": [[1, 2]]}}}}`,
		`{"feature": {"network": {"incoming": {"port_mapping": [[1]]}}}}`, `{"feature": {"network": {"incoming": {"port_mapping": [1, 2]}}}}`, `{"feature": {"network": {"incoming": {"ports": [0]}}}}`,
		`{"feature": {"network": {"incoming": {"on_concurrent_steal": "abort"}}}}`, `{"feature": {"network": {"incoming": {"on_concurrent_steal": "override"}}}}`, `{"feature": {"network": {"incoming": {"http_filter": null}}}}`,
		`{"feature": {"network": {"incoming": {"http_filter": {"ports": [80]}}}}}`, `{"feature": {"network": {"incoming": {"http_filter": {"ports": 80, "header_filter": null}}}}}`,
		`{"feature": {"network": {"incoming": {"http_filter": {"header_filter": "a"}}}}}`, `{"feature": {"network": {"incoming": {"http_filter": true, "tls_delivery": {"protocol": null}, "https_delivery": {"protocol": "tls"}}}}}`, `{"feature": {"db_branches": [{}]}}`, `{"feature": {"split_queues": {"a": {}}}}`, `{"feature": {"network": {"outgoing": {"filter": {"local": ["a"], "other": 1}}}}}`, `{"feature": {"network": {"dns": {"filter": {"remote": "a"}}}}}`,
		`{"agent": {"ttl": 3, "startup_timeout": 300, "resources": {"limits": {"cpu": 1}}}}`, `{"agent": {"nope": 1}}`, `{"agent": {"pause": "yes"}}`, `{"multi_cluster": false}`, `{"multi_cluster": true}`, `{"use_proxy": true}`,
		`{"experimental": {"dlopen_cgo": true}}`, `{"experimental": 5}`, `{"experimental": []}`, `{"experimental": {"nope": 1}}`, `{"experimental": {"latency": {}, "dlopen_cgo": null}}`, `{"experimental": {"latency": {"receive_delay": 1}}}`,
		`{"experimental": {"applev": {"a": [null]}}}`, `{"agent": {"dns": {"attempts": -1}}}`, `{"agent": {"ttl": 70000}}`, `{"agent": {"ttl": 1.5}}`, `{"internal_proxy": {"idle_timeout": 12345678901234567890}}`, `{"skip_processes": ["a", null]}`, `{"skip_processes": 2}`,
		`{"agent": {"disabled_capabilities": ["X", 1]}}`, `{"agent": {"disabled_capabilities": ["X"]}}`, `{"agent": {"ephemeral": "false"}}`, `{"telemetry": []}`, `{"container": {"cli_extra_args": "a"}}`, `{"feature": {"magic": {"aws": 1}}}`, `{"operator": true, "key": "x", "telemetry": true, "pause": false}`, `{"key": 3}`, `{"skip_processes": ["a"]}`, `{"feature": {"split_queues": {}}}`,
		`{"agent": {"resources": {"requests": {"cpu": "100m", "memory": 1048576}, "claims": null}}}`, `{"agent": {"resources": {"requests": {"cpu": "much"}}}}`, `{"agent": {"resources": {"requests": {"cpu": -1}}}}`, `{"agent": {"resources": {"request": {}}}}`,
		`{"agent": {"tolerations": [{"key": "a", "operator": "Exists", "effect": null, "tolerationSeconds": 3}]}}`, `{"agent": {"tolerations": [{"kye": "a"}]}}`, `{"agent": {"tolerations": [{"effect": "No"}]}}`, `{"agent": {"tolerations": {}}}`, `{"agent": {"tolerations": [{"tolerationSeconds": "3"}]}}`,
		`{"agent": {"image_pull_secrets": [{"name": "a"}], "image_pull_policy": "Always"}}`, `{"agent": {"image_pull_secrets": [{}]}}`, `{"agent": {"image_pull_secrets": ["a"]}}`, `{"agent": {"image_pull_policy": "Sometimes"}}`,
		`{"agent": {"security_context": {"seccomp_profile": {"type": "Unconfined"}}}}`, `{"agent": {"security_context": {"seccomp_profile": {"type": "None"}}}}`, `{"agent": {"security_context": {"run_as_user": 0}}}`, `{"agent": {"labels": {"a": "b", "c": 1}}}`, `{"agent": {"labels": ["a"]}}`,
	} {
		agree(t, schema, "understudy.json", []byte(text))
	}
}

// TestPublishedSchema: the one in docs is this one.
func TestPublishedSchema(t *testing.T) {
	published, err := os.ReadFile("../docs/understudy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(published, text) {
		t.Errorf("docs/understudy.schema.json is not up to date (make generate):\n%s", cmp.Diff(string(published), string(text)))
	}
}
