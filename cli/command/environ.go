package command

import (
	"slices"
	"strings"
)

// leftOut are the container's variables that make no sense on another
// machine: where its programs, libraries and home are, who it runs as, which
// language its terminal speaks. A name that ends with * stands for all that
// begin with it.
var leftOut = []string{
	"PATH", "HOME", "SHELL", "PWD", "OLDPWD", "SHLVL", "_",
	"USER", "LOGNAME", "HOMEPATH", "HOMEDRIVE", "USERPROFILE",
	"TMPDIR", "TMP", "TEMP", "XDG_*",
	"TERM", "COLORTERM", "LANG", "LANGUAGE", "LC_*",
	"LD_*", "DYLD_*", "GCONV_PATH", "GLIBC_TUNABLES",
	"CLASSPATH", "JAVA_HOME", "JAVA_EXE", "JRE_HOME",
	"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_*",
	"NODE_PATH", "NVM_*", "GOPATH", "GOROOT", "GOCACHE", "GOMODCACHE",
	"RUBYLIB", "GEM_HOME", "GEM_PATH", "BUNDLE_PATH", "PERL5LIB", "CARGO_HOME", "RUSTUP_HOME",
}

// internal begins the names of variables by which understudy's own processes
// speak to each other.
const internal = "_UNDERSTUDY_"

// environment is what the local process gets: the user's own variables with
// the container's over them, but for those that are left out. The second
// result are the names of the container's that were. Of a name that occurs
// twice the last counts, as execve has it.
func environment(user, container []string) (env, left []string) {
	value := map[string]string{}
	set := func(variable string) {
		name, text, ok := strings.Cut(variable, "=")
		if ok && name != "" && !strings.HasPrefix(name, internal) {
			value[name] = text
		}
	}
	for _, variable := range user {
		set(variable)
	}
	for _, variable := range container {
		name, _, _ := strings.Cut(variable, "=")
		if isLeftOut(name) {
			left = append(left, name)
			continue
		}
		set(variable)
	}
	for name, text := range value {
		env = append(env, name+"="+text)
	}
	slices.Sort(env)
	slices.Sort(left)
	return env, slices.Compact(left)
}

func isLeftOut(name string) bool {
	return slices.ContainsFunc(leftOut, func(pattern string) bool {
		prefix, wild := strings.CutSuffix(pattern, "*")
		return name == pattern || wild && strings.HasPrefix(name, prefix)
	})
}
