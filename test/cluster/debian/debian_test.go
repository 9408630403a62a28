package debian

import (
	"errors"
	"slices"
	"testing"
)

func TestMissing(t *testing.T) {
	look := func(name string) (string, error) {
		if name == "runc" || name == "nft" {
			return "", errors.New("not found")
		}
		return "/usr/bin/" + name, nil
	}
	if got, want := missing(look), []string{"runc", "nftables"}; !slices.Equal(got, want) {
		t.Errorf("missing %v, want %v", got, want)
	}
	if got := missing(func(name string) (string, error) { return name, nil }); len(got) != 0 {
		t.Errorf("missing %v, want nothing", got)
	}
}
