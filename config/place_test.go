package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestPlace: of a file only what says where counts for a command that looks, unless
// that cannot be known.
func TestPlace(t *testing.T) {
	for _, c := range []struct {
		name, file, variable string
		flags                []string
		want                 string // context, namespace, kubeconfig
		aside, err           string
		found                Found
	}{
		{name: "the file", file: `{"kube_context": "far", "target": {"namespace": "shop", "path": "deployment/worker"}, "kubeconfig": "/k"}`, want: "far shop /k"},
		{name: "a variable over it", file: `{"kube_context": "far", "target": {"namespace": "shop"}}`, variable: "stage", want: "far stage "},
		{name: "a flag over both", file: `{"target": {"namespace": "shop"}}`, variable: "stage", flags: []string{"-n", "mine"}, want: " mine "},
		{name: "no file", file: `{"target": {"namespace": "shop"}}`, flags: []string{"-f", "none"}, want: "  "},
		{name: "what is none of its business", file: `{"pause": 5, "nope": 1, "target": {"namespace": "shop"}}`, want: " shop ", aside: "nope"},
		{name: "what does not go together", file: `{"pause": true, "feature": {"copy_target": true}, "target": {"namespace": "shop"}}`, want: " shop "},
		{name: "a place that is none", file: `{"target": {"namespace": 5}}`, want: "  ", err: "target.namespace is 5"},
		{name: "a broken file", file: `{`, flags: []string{"-n", "mine"}, want: " mine ", err: "understudy.json:1"},
		{name: "names of a file that was found", found: FoundNames, file: `{"kube_context": "far", "target": {"namespace": "shop"}, "kubeconfig": "/k"}`, want: "far shop "},
		{name: "all of a file that was named", found: FoundNames, flags: []string{"-f", ".understudy/understudy.json"}, file: `{"target": {"namespace": "shop"}, "kubeconfig": "/k"}`, want: " shop /k"},
		{name: "nothing of what has to be computed", found: FoundNames, file: `{"target": {"namespace": "{{ 'shop' }}"}}`, want: "  "},
		{name: "nothing of a file that was found", found: FoundNot, file: `{"kube_context": "far", "target": {"namespace": "shop"}}`, want: "  "},
		{name: "too large", file: "{" + strings.Repeat(" ", 5<<20) + "}", want: "  ", err: "has more than"},
		{name: "a missing file", flags: []string{"-f", "gone.json", "-n", "mine"}, want: " mine ", err: "there is no file gone.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if c.file != "" {
				if err := os.MkdirAll(filepath.Join(dir, ".understudy"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, ".understudy/understudy.json"), []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			ClusterFlags(flags)
			FileFlags(flags)
			if err := flags.Parse(c.flags); err != nil {
				t.Fatal(err)
			}
			l := &loading{flags: flags, dir: dir, environ: func(name string) (string, bool) {
				if name != "UNDERSTUDY_TARGET_NAMESPACE" {
					return "", false
				}
				return c.variable, c.variable != ""
			}}
			got, aside, err := l.place(c.found)
			if at := strings.Join([]string{got.Context, got.Namespace, got.Kubeconfig}, " "); at != c.want {
				t.Errorf("it is %q, want %q", at, c.want)
			}
			if said := aside.Error(); c.aside == "" && len(aside) > 0 || !strings.Contains(said, c.aside) {
				t.Errorf("aside: %s", said)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}
