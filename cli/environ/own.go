package environ

import (
	"slices"
	"strings"
)

// proxies are variables that make no sense in the pod's network, from which the
// local process connects: the proxies of this machine's. In lower case too.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"}

// Own is the user's own environment, each as "NAME=value", without what makes
// no sense in the pod's network, and the names of that. The container's own
// proxies are not touched by this, nor what a configuration sets.
func Own(user []string) (env, left []string) {
	for _, variable := range user {
		name, _, _ := strings.Cut(variable, "=")
		if slices.Contains(proxies, strings.ToUpper(name)) {
			left = append(left, name)
			continue
		}
		env = append(env, variable)
	}
	slices.Sort(left)
	return env, slices.Compact(left)
}
