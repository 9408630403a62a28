package command

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestMainExitCodes(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for line, want := range map[string]struct {
		code        int
		out, errOut string
	}{
		"":                       {exitUsage, "", "no command"},
		"dance":                  {exitUsage, "", `no command "dance"`},
		"help":                   {exitOK, "usage: cluster", ""},
		"status":                 {exitFailed, "not up", ""},
		"user":                   {exitUsage, "", "one name"},
		"user ann":               {exitFailed, "", "make cluster-up"},
		"user ann --nothing":     {exitUsage, "", "--nothing"},
		"exec node-1 -- true":    {exitFailed, "", "make cluster-up"},
		"exec node-1 --":         {exitUsage, "", "a command"},
		"restart":                {exitUsage, "", "a component"},
		"binaries docker":        {exitFailed, "", "no program"},
		"image --name a:b -o x":  {exitUsage, "", "--file"},
		"push a.tar":             {exitUsage, "", "a full name"},
		"push a.tar b":           {exitFailed, "", "example.com/worker:dev"},
		"load":                   {exitUsage, "", "a file"},
		"load /no/such/file.tar": {exitFailed, "", "no such file"},
	} {
		var out, errOut bytes.Buffer
		code := Main(strings.Fields(line), &out, &errOut)
		// The flag package says -nothing for --nothing.
		said := strings.ReplaceAll(errOut.String(), " -nothing", " --nothing")
		if code != want.code || !strings.Contains(out.String(), want.out) || !strings.Contains(said, want.errOut) {
			t.Errorf("cluster %s: exit code %d, stdout %q, stderr %q; want %d, %q, %q", line, code, &out, said, want.code, want.out, want.errOut)
		}
	}
}

// What env prints is read by a shell, also with a strange folder.
func TestEnvIsReadByAShell(t *testing.T) {
	// Not t.TempDir: its names are too long for the sockets below a cache folder.
	base, err := os.MkdirTemp("", "it's $HOME")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	t.Setenv("XDG_CACHE_HOME", base)
	var out, errOut bytes.Buffer
	if code := Main([]string{"env"}, &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	shell := exec.Command("sh", "-c", `eval "$ENV"; printf '%s\n%s\n' "$KUBECONFIG" "$KUBE_APISERVER"`)
	shell.Env = append(os.Environ(), "ENV="+out.String())
	said, err := shell.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := base + "/understudy/cluster/kubeconfig\n" + base + "/understudy/bin/kube-apiserver\n"
	if string(said) != want {
		t.Errorf("a shell reads %q, want %q", said, want)
	}
}

func TestParseTakesFlagsAnywhere(t *testing.T) {
	flags := flag.NewFlagSet("user", flag.ContinueOnError)
	var groups list
	flags.Var(&groups, "group", "")
	arguments, err := parse(flags, []string{"--group", "a", "ann", "--group=b", "bob"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(arguments, []string{"ann", "bob"}) || !slices.Equal(groups, []string{"a", "b"}) {
		t.Errorf("arguments %v, groups %v", arguments, groups)
	}
}
