//go:build linux

package root

import "testing"

func TestOnlyHostsAreLookedUpElsewhere(t *testing.T) {
	const host = "# comment\npasswd:         files sss\n hosts : mymachines resolve [!UNAVAIL=return] files myhostname dns\nnetworks: files\nservices: db files"
	const want = "# comment\npasswd:         files sss\nservices: db files\nhosts: files dns\nnetworks: files\n"
	if got := rewriteSwitch(host); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
