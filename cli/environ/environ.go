// Package environ makes the environment of the local process: the user's own
// with the container's over it, as far as that makes sense on another machine
// and the configuration wants it.
package environ

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/subosito/gotenv"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/config/source"
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

// Rules are what becomes of the container's variables.
type Rules struct {
	env      config.Env
	mapping  []mapped
	fromFile map[string]string
}

// mapped is a pattern for names, and the value that they get.
type mapped struct {
	names *regexp.Regexp
	value string
}

// New reads the rules of a configuration, and the file that it names. Errors
// that the user can act on are *failure.Failure.
func New(env config.Env) (*Rules, error) {
	r := &Rules{env: env}
	if env.File != "" {
		variables, err := fileOf(env.File)
		if err != nil {
			return nil, err
		}
		r.fromFile = variables
	}
	for _, pattern := range slices.Sorted(maps.Keys(env.Mapping)) {
		expression, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("reading feature.env.mapping: %w", err)
		}
		r.mapping = append(r.mapping, mapped{expression, env.Mapping[pattern]})
	}
	return r, nil
}

// fileOf are the variables of a file.
func fileOf(name string) (map[string]string, error) {
	text, err := source.Read(name, true)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, failure.New("feature.env.env_file, or --env-file, names it", "there is no file %s", name)
		}
		return nil, &failure.Failure{What: "the file of variables cannot be read", Err: err}
	}
	variables, err := gotenv.StrictParse(bytes.NewReader(text))
	if err != nil {
		return nil, &failure.Failure{What: "the file of variables " + name + " cannot be read", Err: err, Hint: "it has one NAME=value in each line"}
	}
	return variables, nil
}

// Apply makes the environment of the user's own variables and the container's,
// each as "NAME=value". Over the container's come those of the file, over these
// those that are set outright; what is unset is gone, whoever set it. The
// second result are the names of the container's that were left out. Of a name
// that occurs twice the last counts, as execve has it.
func (r *Rules) Apply(user, container []string) (env, left []string) {
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
		if !r.taken(name) {
			left = append(left, name)
			continue
		}
		if i := slices.IndexFunc(r.mapping, func(m mapped) bool { return m.names.MatchString(name) }); i >= 0 {
			variable = name + "=" + r.mapping[i].value
		}
		set(variable)
	}
	maps.Copy(value, r.fromFile)
	maps.Copy(value, r.env.Override)
	for name, text := range value {
		if slices.ContainsFunc(r.env.Unset, func(unset string) bool { return strings.EqualFold(unset, name) }) {
			continue
		}
		env = append(env, name+"="+text)
	}
	slices.Sort(env)
	slices.Sort(left)
	return env, slices.Compact(left)
}

// taken says whether a variable of the container is taken. One that is named to
// be taken is, even if it would be left out.
func (r *Rules) taken(name string) bool {
	if len(r.env.Include) > 0 {
		return like(r.env.Include, name) && (!like(leftOut, name) || slices.ContainsFunc(r.env.Include, func(p string) bool { return p != "*" && matches(p, name) }))
	}
	return !like(leftOut, name) && !like(r.env.Exclude, name)
}

func like(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, name) })
}

// matches says whether a name is that of a pattern, in which * stands for
// anything and ? for one character.
func matches(pattern, name string) bool {
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] == '*':
			for at := i; at <= len(name); at++ {
				if matches(pattern[i+1:], name[at:]) {
					return true
				}
			}
			return false
		case i >= len(name), pattern[i] != '?' && pattern[i] != name[i]:
			return false
		}
	}
	return len(pattern) == len(name)
}
