package command

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		user, container []string
		env, left       []string
	}{
		"empty": {},
		"the container's over the user's": {
			user:      []string{"QUEUE=mine", "EDITOR=vi"},
			container: []string{"QUEUE=orders", "POD_IP=10.0.0.1"},
			env:       []string{"EDITOR=vi", "POD_IP=10.0.0.1", "QUEUE=orders"},
		},
		"what makes no sense here stays out": {
			user:      []string{"PATH=/usr/bin", "HOME=/home/ada"},
			container: []string{"PATH=/app/bin", "HOME=/root", "LD_PRELOAD=/app/x.so", "LC_ALL=C", "XDG_RUNTIME_DIR=/x", "TERM=dumb"},
			env:       []string{"HOME=/home/ada", "PATH=/usr/bin"},
			left:      []string{"HOME", "LC_ALL", "LD_PRELOAD", "PATH", "TERM", "XDG_RUNTIME_DIR"},
		},
		"names that only look alike": {
			container: []string{"PATHS=1", "HOME_URL=2", "LDAP=3", "USERNAME=4", "HOSTNAME=worker-x-standin-1"},
			env:       []string{"HOME_URL=2", "HOSTNAME=worker-x-standin-1", "LDAP=3", "PATHS=1", "USERNAME=4"},
		},
		"values with = and of no length, and names that are none": {
			user:      []string{"A=b=c", "=C:=C:\\", "broken"},
			container: []string{"EMPTY=", "EMPTY=", "PATH=a", "PATH=b"},
			env:       []string{"A=b=c", "EMPTY="},
			left:      []string{"PATH"},
		},
		"the last of two counts": {
			container: []string{"A=1", "A=2"},
			env:       []string{"A=2"},
		},
		"what is understudy's own": {
			user: []string{"_UNDERSTUDY_STAGE=keeper", "UNDERSTUDY_TARGET=x"},
			env:  []string{"UNDERSTUDY_TARGET=x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			env, left := environment(tc.user, tc.container)
			if diff := cmp.Diff(tc.env, env); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.left, left); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
		})
	}
}
