package config

import (
	"strings"
	"testing"
)

// TestFilterOfNames: the forms that the other tool documents for a filter of names,
// of which only names can be looked up.
func TestFilterOfNames(t *testing.T) {
	const name = ".understudy/understudy.yaml"
	for entry, wrong := range map[string]string{
		"1.1.1.0/24:1337": `"1.1.1.0/24:1337" is an address, and names are looked up, not addresses`,
		"1.1.5.0/24":      `"1.1.5.0/24" is an address`,
		"10.0.0.1":        `"10.0.0.1" is an address`,
		"::1":             `"::1" is an address`,
		"[fd00::1]:53":    `"[fd00::1]:53" is an address`,
		":53":             `":53" is a port alone, and who looks a name up names none`,
		"tcp://a.b:53":    `"tcp://a.b:53" is no name`,
		"a.b:":            `"a.b:" is no name`,
		"a.b:99999":       `"a.b:99999" is no name`,
		"google.com:7331": "",
		"*.google.com":    "",
	} {
		text := "target: pod/w\nfeature: {network: {dns: {filter: {local: [ok.example,\n  '" + entry + "']}}}}\n"
		c, err := setup{files: map[string]string{name: text}}.read(t)
		if wrong == "" {
			if err != nil {
				t.Errorf("%s: %v", entry, err)
			}
			continue
		}
		if want := name + ":3: feature.network.dns.filter: " + wrong; !strings.HasPrefix(errorText(err), want) {
			t.Errorf("%s: got %v", entry, err)
		}
		if problems, _ := err.(Problems); !strings.Contains(wrong, "no name") && !strings.Contains(problems.Hint(), "feature.network.outgoing.filter") { //nolint:errorlint // it returns nothing else
			t.Errorf("%s: got hint %q", entry, problems.Hint())
		}
		if strings.Contains(strings.Join(c.Notices, "\n"), "dns.filter") {
			t.Errorf("%s: got notices %q", entry, c.Notices)
		}
	}
}

// TestPortOfName: a port that a name in a filter has is dropped, and that is said.
func TestPortOfName(t *testing.T) {
	for _, side := range []string{"local", "remote"} {
		c, err := setup{files: map[string]string{".understudy/understudy.yaml": "target: pod/w\nfeature: {network: {dns: {filter: {" + side + ": ['Google.com:7331', a.b]}}}}\n"}}.read(t)
		const want = `feature.network.dns.filter: of "Google.com:7331" the port is dropped: who looks a name up names none`
		if err != nil || !strings.Contains(strings.Join(c.Notices, "\n"), want) {
			t.Errorf("%s: error %v, notices %q", side, err, c.Notices)
		}
		if got := c.Explain(Facts{}); strings.Contains(got, "7331") || !strings.Contains(got, "google.com and a.b") {
			t.Errorf("%s: got %s", side, got)
		}
	}
}
