// Package debian has what is not built from Go modules: it installs the few
// programs of a node that are C, or (runc) need a C library, and makes the roots
// of images of brokers that tests want as they really are.
package debian

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// needs maps a program that must be found in PATH to the package that holds it.
// Links, routes and connection tracking need none: they are asked for over netlink.
var needs = []struct{ program, pkg string }{
	{"runc", "runc"},
	{"nft", "nftables"},
	{"iptables", "iptables"},
	{"mount", "mount"},
}

// Ensure installs what is missing and says so on out.
func Ensure(ctx context.Context, out io.Writer) error {
	missing := missing(exec.LookPath)
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("installing %s: there is no apt-get; install what they hold (in Debian's names) by hand", strings.Join(missing, ", "))
	}
	fmt.Fprintf(out, "installing Debian packages: %s\n", strings.Join(missing, " "))
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("installing %s: apt-get %s: %w\n%s", strings.Join(missing, ", "), args[0], err, said)
		}
	}
	return nil
}

func missing(look func(string) (string, error)) []string {
	var packages []string
	for _, need := range needs {
		if _, err := look(need.program); err != nil {
			packages = append(packages, need.pkg)
		}
	}
	return packages
}
