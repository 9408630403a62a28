package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Keys of a setting, the same in flags, file and (in upper case, with _)
// environment.
const (
	keyTarget       = "target"
	keyNamespace    = "target-namespace"
	keyContext      = "context"
	keyKubeconfig   = "kubeconfig"
	keyCopyTarget   = "copy-target"
	keyScaleDown    = "scale-down"
	keyPause        = "pause"
	keyShareTraffic = "share-traffic"
	keyListen       = "listen"
	keyLease        = "lease"
	keySetupTimeout = "setup-timeout"
	keyVerbose      = "verbose"
	keyFile         = "config-file"
)

// keys are those that a file may have: all but the file's own name.
var keys = []string{
	keyTarget, keyNamespace, keyContext, keyKubeconfig, keyCopyTarget, keyScaleDown, keyPause,
	keyShareTraffic, keyListen, keyLease, keySetupTimeout, keyVerbose,
}

// EnvironmentPrefix is what the name of every variable begins with.
const EnvironmentPrefix = "UNDERSTUDY"

// ClusterFlags are the flags that say which cluster and namespace is meant.
func ClusterFlags(flags *pflag.FlagSet) {
	flags.StringP(keyNamespace, "n", "", "namespace of the target (default: the kubeconfig's)")
	flags.String(keyContext, "", "context of the kubeconfig (default: the current one)")
	flags.String(keyKubeconfig, "", "kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)")
}

// SessionFlags are the flags that say what a session should do.
func SessionFlags(flags *pflag.FlagSet) {
	flags.StringP(keyTarget, "t", "", "workload to stand in for: deployment/NAME, deployment/NAME/container/CONTAINER or pod/NAME")
	flags.Bool(keyCopyTarget, false, "run in a copy of the target's pod, the stand-in")
	flags.Bool(keyScaleDown, false, "hold the target at 0 replicas meanwhile; the same number comes back at the end")
	flags.Bool(keyPause, false, "freeze the target's container meanwhile (does not work yet)")
	flags.Bool(keyShareTraffic, false, "let the stand-in take a share of the traffic beside the target (without --scale-down)")
	flags.StringSlice(keyListen, nil, "port that may be opened in the cluster though the container does not declare it, or all; repeatable")
	flags.Duration(keyLease, DefaultLease, "how long the cluster waits for this machine before it undoes everything by itself")
	flags.Duration(keySetupTimeout, DefaultSetupTimeout, "how long everything may take to be ready before it is undone, a pulled image included")
	flags.BoolP(keyVerbose, "v", false, "show details")
	flags.StringP(keyFile, "f", "", "file with settings, named as the flags are (YAML or JSON)")
}

// Load makes a Config of the flags, the variables and the file that one of
// both names. Errors are *Problem where the user said something wrong.
func Load(flags *pflag.FlagSet) (*Config, error) {
	v := viper.New()
	v.SetEnvPrefix(EnvironmentPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	if err := v.BindPFlags(flags); err != nil {
		return nil, fmt.Errorf("binding flags: %w", err)
	}
	if file := v.GetString(keyFile); file != "" {
		if err := readFile(v, file); err != nil {
			return nil, err
		}
	}
	c := &Config{
		Target:     v.GetString(keyTarget),
		Namespace:  v.GetString(keyNamespace),
		Context:    v.GetString(keyContext),
		Kubeconfig: v.GetString(keyKubeconfig),
	}
	var err error
	if c.Listen, err = parseListen(v.GetStringSlice(keyListen)); err != nil {
		return nil, err
	}
	if c.Lease, err = duration("lease", v.GetString(keyLease)); err != nil {
		return nil, err
	}
	if c.SetupTimeout, err = duration("setup timeout", v.GetString(keySetupTimeout)); err != nil {
		return nil, err
	}
	switches := map[string]bool{}
	for _, key := range []string{keyCopyTarget, keyScaleDown, keyPause, keyShareTraffic, keyVerbose} {
		if switches[key], err = boolean(v, key); err != nil {
			return nil, err
		}
	}
	c.ShareTraffic, c.Verbose = switches[keyShareTraffic], switches[keyVerbose]
	c.Takeover, err = takeover(switches[keyCopyTarget], switches[keyScaleDown], switches[keyPause])
	return c, err
}

// takeover is what the three switches come to together.
func takeover(copied, scaled, paused bool) (Takeover, error) {
	switch {
	case paused && (copied || scaled):
		return "", problem("choose one of both", "--pause and --copy-target exclude each other")
	case paused:
		return TakeoverFreeze, nil
	case scaled && !copied:
		return "", problem("add --copy-target", "--scale-down needs a stand-in that runs instead of the target")
	case scaled:
		return TakeoverScaleDown, nil
	case copied:
		return TakeoverCopy, nil
	}
	return TakeoverNone, nil
}

func readFile(v *viper.Viper, file string) error {
	v.SetConfigFile(file)
	if !strings.HasSuffix(file, ".json") {
		v.SetConfigType("yaml")
	}
	switch err := v.ReadInConfig(); {
	case errors.Is(err, fs.ErrNotExist):
		return problem("", "there is no file %s", file)
	case err != nil:
		return fmt.Errorf("reading %s: %w", file, err)
	}
	for _, key := range v.AllKeys() {
		if v.InConfig(key) && !slices.Contains(keys, key) {
			return problem("it may have "+strings.Join(keys, ", "), "%s has an unknown key %q", file, key)
		}
	}
	return nil
}

// boolean reads a switch; viper itself takes what it cannot read for false.
func boolean(v *viper.Viper, key string) (bool, error) {
	switch text := strings.ToLower(v.GetString(key)); text {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off", "":
		return false, nil
	default:
		return false, problem("say true or false", "%s is %q", key, text)
	}
}

func duration(what, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, problem("write it as 60s or 5m", "a %s of %q is no time", what, text)
	}
	return d, nil
}
