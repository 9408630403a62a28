package stage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestRemedyNamesTheSwitch(t *testing.T) {
	for _, test := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"/proc/sys/user/max_user_namespaces": "0"}, "sysctl -w user.max_user_namespaces="},
		{map[string]string{"/proc/sys/user/max_user_namespaces": "15000", "/proc/sys/kernel/unprivileged_userns_clone": "0"}, "sysctl -w kernel.unprivileged_userns_clone=1"},
		{map[string]string{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{map[string]string{"/proc/sys/user/max_net_namespaces": "0"}, "user.max_net_namespaces"},
		{nil, "seccomp"},
	} {
		if got := remedy(func(path string) string { return test.files[path] }); !strings.Contains(got, test.want) {
			t.Errorf("%v: %s, want %s", test.files, got, test.want)
		}
	}
	if err := explain(syscall.EPERM); !errors.Is(err, ErrForbidden) || !errors.Is(err, syscall.EPERM) {
		t.Errorf("%v", err)
	}
}

// Namespaces are forbidden for real: a user namespace in which there may be no
// further ones.
func TestForbiddenNamespacesAreExplained(t *testing.T) {
	if out, err := inUserNamespace("true").CombinedOutput(); err != nil {
		t.Skipf("no user namespace to test in: %v: %s", err, out)
	}
	c := command(t, player{"self", syscall.Getuid(), DeviceVeth}, script{}, "true")
	wrapped := inUserNamespace("sh", append([]string{"-c", `echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"`}, append([]string{c.Path}, c.Args[1:]...)...)...)
	wrapped.Env, wrapped.Dir = c.Env, c.Dir
	out, err := wrapped.CombinedOutput()
	if err == nil || !strings.Contains(string(out), ErrForbidden.Error()) || !strings.Contains(string(out), "sysctl -w user.max_user_namespaces=15000") {
		t.Errorf("it said %s (%v)", out, err)
	}
}

// The same is known before anything is made.
func TestCheckForbidden(t *testing.T) {
	if os.Getenv("STAGE_TEST_CHECK") != "" {
		fmt.Println("it said:", Check())
		return
	}
	for what, wrapped := range map[string]*exec.Cmd{
		"it said: <nil>": inUserNamespace("sh", "-c", `exec "$0" "$@"`, os.Args[0], "-test.run=^TestCheckForbidden$"),
		"sysctl -w user.max_user_namespaces=15000": inUserNamespace("sh", "-c", `echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"`, os.Args[0], "-test.run=^TestCheckForbidden$"),
	} {
		wrapped.Env = append(os.Environ(), "STAGE_TEST_CHECK=1")
		if out, err := wrapped.CombinedOutput(); err != nil || !strings.Contains(string(out), what) {
			t.Errorf("it said %s (%v), not %s", out, err, what)
		}
	}
}

func TestIdentityMapsEachRangeToItself(t *testing.T) {
	got := identity("         0       1000          1\n         1     100000      65536\n")
	if len(got) != 2 || got[0] != (syscall.SysProcIDMap{ContainerID: 0, HostID: 0, Size: 1}) || got[1] != (syscall.SysProcIDMap{ContainerID: 1, HostID: 1, Size: 65536}) {
		t.Errorf("%+v", got)
	}
}
