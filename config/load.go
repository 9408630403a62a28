package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"understudy.dev/understudy/config/decision"
	"understudy.dev/understudy/config/source"
)

// EnvironmentPrefix is what the name of every variable of understudy's own
// begins with; the flag's name follows.
const EnvironmentPrefix = "UNDERSTUDY_"

// clusterFlags say which cluster and namespace is meant.
var clusterFlags = []string{"target-namespace", "context", "kubeconfig", "accept-invalid-certificates"}

// ClusterFlags are the flags that say which cluster and namespace is meant.
func ClusterFlags(flags *pflag.FlagSet) {
	flags.SetNormalizeFunc(asKubectl)
	for i := range decision.Flags {
		if row := &decision.Flags[i]; slices.Contains(clusterFlags, row.Name) {
			addFlag(flags, row)
		}
	}
}

// asKubectl takes --namespace, as kubectl has it.
func asKubectl(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if name == "namespace" {
		name = "target-namespace"
	}
	return pflag.NormalizedName(name)
}

// FileFlags are the flags that say which file is read, and as what.
func FileFlags(flags *pflag.FlagSet) {
	for i := range decision.Flags {
		if row := &decision.Flags[i]; row.Name == keyFile || row.Name == "key" {
			addFlag(flags, row)
		}
	}
}

// keyFile is the flag, and in upper case the variable, that names the file.
const keyFile = "config-file"

// SessionFlags are the flags that say what a session should do.
func SessionFlags(flags *pflag.FlagSet) {
	for i := range decision.Flags {
		if row := &decision.Flags[i]; !slices.Contains(clusterFlags, row.Name) {
			addFlag(flags, row)
		}
	}
}

func addFlag(flags *pflag.FlagSet, row *decision.Row) {
	switch {
	case row.Switch:
		flags.BoolP(row.Name, row.Short, false, row.Text)
	case row.Name == "listen":
		flags.StringSlice(row.Name, nil, row.Text)
	case row.Name == "lease":
		lease := seconds(DefaultLease)
		flags.Var(&lease, row.Name, row.Text)
	case row.Name == "setup-timeout":
		timeout := seconds(DefaultSetupTimeout)
		flags.Var(&timeout, row.Name, row.Text)
	default:
		flags.StringP(row.Name, row.Short, "", row.Text)
	}
	if row.Verdict == decision.Meaningless || row.Verdict == decision.Mapped {
		flags.Lookup(row.Name).Hidden = true
	}
}

// Load makes a Config of the flags, the variables and the file, which one of
// both names or which is found. The error is Problems; the Config is there all
// the same, as far as it could be read.
func Load(flags *pflag.FlagSet) (*Config, error) {
	l, err := newLoading(flags)
	if err != nil {
		return nil, err
	}
	return l.load()
}

// Read is Load and Check in one, with all that is wrong at once. That is also what
// others find, who know of a key's value what is not known here.
func Read(flags *pflag.FlagSet, others ...func(*Config) *Problem) (*Config, error) {
	l, err := newLoading(flags)
	if err != nil {
		return nil, err
	}
	return l.read(others...)
}

func newLoading(flags *pflag.FlagSet) (*loading, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the working directory: %w", err)
	}
	l := &loading{flags: flags, dir: dir, environ: os.LookupEnv}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		l.variables = append(l.variables, name)
	}
	return l, nil
}

// read checks what was loaded, but not where a file is not known: what is
// missing then may stand in it.
func (l *loading) read(others ...func(*Config) *Problem) (*Config, error) {
	c, err := l.load()
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		return c, err
	}
	if !l.unread {
		problems = append(problems, l.check(c)...)
	}
	problems = append(problems, l.missing(c)...)
	for _, other := range others {
		p := other(c)
		if p == nil || problems.speakOf(p.keys[0]) {
			continue
		}
		if strings.HasPrefix(l.locate(p).Place, "--") {
			p.Place = "" // whoever typed it sees it
		}
		problems = append(problems, p)
	}
	return c, problems.orNil()
}

// loading is one reading of all sources.
type loading struct {
	flags   *pflag.FlagSet
	dir     string
	environ func(string) (string, bool)
	// variables are the names that the environment has.
	variables []string

	viper    *viper.Viper
	layers   map[string]layer
	problems Problems
	notices  []string
	// unread: there is a file, and it cannot be read.
	unread bool
	// misnamed: somebody speaks of a target, and something is wrong with how.
	misnamed bool
	// takenBy is the key that the takeover was said with.
	takenBy string
	// heldBy is the one that says whether the target of a stand-in is held at zero.
	heldBy string
	// found is how far a file is trusted that nobody named.
	found Found
}

// layer is where something was said; the higher wins.
type layer int

const (
	nowhere layer = iota
	inFile
	inEnvironment
	inFlags
)

func (l *loading) load() (*Config, error) {
	l.layers = map[string]layer{}
	said := l.readEnvironment()
	name, read := l.readFile()
	return l.merge(name, said, read)
}

// merge makes a Config of what the environment, the file and the flags said.
func (l *loading) merge(name string, said, read map[string]any) (*Config, error) {
	for key, value := range read {
		if l.layers[key] == nowhere {
			l.layers[key] = inFile
		}
		if _, over := said[key]; !over {
			said[key] = value
		}
	}
	// No key has the delimiter in it: to viper they have no sections, so that
	// what is a value of ours, a map with keys of a person's own, stays whole.
	l.viper = viper.NewWithOptions(viper.KeyDelimiter("\x00"))
	if err := l.viper.MergeConfigMap(said); err != nil {
		return nil, fmt.Errorf("merging what was said: %w", err)
	}
	l.bindFlags()

	f := defaults()
	for _, s := range settings {
		l.take(s, reflect.ValueOf(&f).Elem().FieldByIndex(s.index))
	}
	f.Kubeconfig = l.path("kubeconfig", f.Kubeconfig, name)
	f.Env.File = l.path("feature.env.env_file", f.Env.File, name)
	f.File, f.Notices = name, l.notices
	l.takeover(&f)
	l.yield(&f)
	if f.Takeover == TakeoverNone && !f.Targetless() && l.layers["feature.network.incoming.mode"] == nowhere {
		f.notice(steals)
	}
	return &f.Config, l.problems.orNil()
}

// take puts what was said under a key into its field.
func (l *loading) take(s setting, field reflect.Value) {
	var value said
	switch got := l.viper.Get(s.key).(type) {
	case nil:
		return
	case said:
		value = got
	case string: // of a flag
		value = said{node: &source.Node{Value: got}, place: "--" + l.flagOf(s.key), loose: true}
	}
	if text, ok := value.node.Value.(string); ok && text == "" && value.loose {
		if s.key == "target.path" { // it would take a file's away
			l.misnamed = true
			l.problems = append(l.problems, problem("name the workload, as in -t deployment/NAME, or leave -t out; -t targetless is for the place of nothing", "--target is empty"))
		}
		return
	}
	if expected := decode(value, field); expected != "" {
		l.problems = append(l.problems, mistyped(s.key, value, s.kind, expected)...)
	}
}

// newKey is a name for a session that got none.
func newKey() string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // it never fails
	return hex.EncodeToString(random[:])
}

// readFile finds and reads the file, and gives its name as a person would call
// it.
func (l *loading) readFile() (string, map[string]any) {
	name, by, passed := l.fileName()
	for _, over := range passed {
		what := " is a folder, and no configuration file"
		if over.Empty {
			what = " is empty, and no configuration"
		}
		l.notices = append(l.notices, over.Path+what+": it is passed over")
	}
	trust := FoundAll
	if by == whereItIs {
		trust = l.found
	}
	if name == "none" || name == "" || trust == FoundNot {
		return "", nil
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.dir, path)
	}
	text, err := source.Read(path, by != whereItIs)
	l.unread = err != nil
	if trust == FoundNames && (err != nil || source.HasTemplates(text)) {
		return "", nil
	}
	hint := "it was named by " + by
	if by == whereItIs {
		hint = "it is there, and was not named: name another with -f, or -f none for none"
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.problems = append(l.problems, problem(hint, "there is no file %s", name))
		return "", nil
	case err != nil:
		var of *fs.PathError
		if errors.As(err, &of) {
			err = of.Err
		}
		l.problems = append(l.problems, problem(hint, "the file %s cannot be read: %v", name, err))
		return "", nil
	}
	key, _ := l.environ(EnvironmentPrefix + "KEY")
	if old, ok := l.environ("MIRRORD_KEY"); key == "" && ok {
		key = old
	}
	if flag := l.lookup("key"); flag != nil && flag.Changed {
		key = flag.Value.String()
	}
	_, says := l.readText(name, text, key)
	if trust == FoundNames {
		delete(says, "kubeconfig")
		delete(says, "accept_invalid_certificates")
	}
	return name, says
}

// readText reads a file's text, and gives what it says under its keys.
func (l *loading) readText(name string, text []byte, key string) (*file, map[string]any) {
	branch, overridden := l.environ("MIRRORD_BRANCH_NAME")
	if !overridden {
		branch = source.Branch(l.dir)
	}
	read := readFile(name, text, key, source.Variables{Branch: branch, Env: l.environ})
	l.problems = append(l.problems, read.problems...)
	l.notices = append(l.notices, read.notices...)
	l.unread, l.misnamed = read.unread, read.misnamed
	says := map[string]any{}
	for key, value := range read.says {
		says[key] = value
	}
	return read, says
}

// fileName is the file that is meant, and by what it was named. Where it had to be
// found, others were passed over.
func (l *loading) fileName() (name, by string, passed []source.Passed) {
	if flag := l.lookup(keyFile); flag != nil && flag.Changed {
		return flag.Value.String(), "-f", nil
	}
	for _, variable := range []string{EnvironmentPrefix + "CONFIG_FILE", "MIRRORD_CONFIG_FILE"} {
		if name, _ := l.environ(variable); name != "" {
			return name, variable, nil
		}
	}
	found, passed := source.Find(l.dir)
	if found != "" {
		found = l.relative(found)
	}
	for i := range passed {
		passed[i].Path = l.relative(passed[i].Path)
	}
	return found, whereItIs, passed
}

// relative is a path as a person who is here would call it.
func (l *loading) relative(path string) string {
	if relative, err := filepath.Rel(l.dir, path); err == nil {
		return relative
	}
	return path
}

// whereItIs is what has named a file that was found.
const whereItIs = "where it is"

func (l *loading) lookup(name string) *pflag.Flag {
	if l.flags == nil {
		return nil
	}
	return l.flags.Lookup(name)
}

// FileOf is the file that flags, environment and working directory name; empty
// where there is none. Where it had to be found, others were passed over.
func FileOf(flags *pflag.FlagSet) (name string, passed []source.Passed) {
	dir, err := os.Getwd()
	if err != nil {
		return "", nil
	}
	name, _, passed = (&loading{flags: flags, dir: dir, environ: os.LookupEnv}).fileName()
	if name == "none" {
		return "", nil
	}
	return name, passed
}
