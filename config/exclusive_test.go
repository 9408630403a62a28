package config

import (
	"slices"
	"strings"
	"testing"
)

// TestExclusive: of two that do not go together the one in the lower place gives
// way, and that is said; in one place both are an error that names what was said.
func TestExclusive(t *testing.T) {
	const name = ".understudy/understudy.yaml"
	type environ map[string]string
	for title, tc := range map[string]struct {
		file    string
		environ environ
		args    []string
		notice  string // the overruled one's
		wrong   string
		hint    string
		holds   func(c *Config) bool
	}{
		"include over the file's exclude": {"feature:\n  env:\n    exclude: B\n", nil, []string{"-s", "A"},
			name + ":3: feature.env.exclude is overruled by --override-env-vars-include: they exclude each other", "", "",
			func(c *Config) bool { return slices.Equal(c.Env.Include, []string{"A"}) && c.Env.Exclude == nil }},
		"include over env: false": {"\nfeature: {env: false}", nil, []string{"-s", "A*"},
			name + ":2: feature.env: false is overruled by --override-env-vars-include: they exclude each other", "", "",
			func(c *Config) bool { return slices.Equal(c.Env.Include, []string{"A*"}) && c.Env.Exclude == nil }},
		"a variable over the file": {"feature: {env: {include: A}}", environ{"MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE": "B"}, nil,
			name + ":1: feature.env.include is overruled by MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE: they exclude each other", "", "",
			func(c *Config) bool { return c.Env.Include == nil && slices.Equal(c.Env.Exclude, []string{"B"}) }},
		"a flag over a variable": {"", environ{"UNDERSTUDY_OVERRIDE_ENV_VARS_INCLUDE": "A"}, []string{"-x", "B"},
			"UNDERSTUDY_OVERRIDE_ENV_VARS_INCLUDE is overruled by --override-env-vars-exclude: they exclude each other", "", "",
			func(c *Config) bool { return c.Env.Include == nil }},
		"connections, and a stand-in by flags": {"pause: true\nrelease_connections: false", nil, []string{"--copy-target", "--scale-down"},
			name + ":2: release_connections is overruled by --scale-down: connections are kept", "", "",
			func(c *Config) bool { return c.ReleaseConnections && c.Takeover == TakeoverScaleDown }},
		"connections, and no pause by a flag": {"pause: true\nrelease_connections: false", nil, []string{"--pause=false"},
			name + ":2: release_connections is overruled by --pause=false: ", "", "",
			func(c *Config) bool { return c.ReleaseConnections && c.Takeover == TakeoverNone }},
		"connections, and a copy in one place": {"takeover: copy\nrelease_connections: false", nil, nil,
			"", name + ":2: connections are kept open only", "or leave release_connections out", nil},
		"connections by a flag": {"takeover: copy", nil, []string{"--keep-connections"},
			"", "--keep-connections: connections are kept open only where something is frozen (the other: " + name + ":1)", "or leave --keep-connections out", nil},
		"shared, and scaled down by a flag": {"feature: {copy_target: true}\nshare_traffic: true", nil, []string{"--scale-down"},
			name + ":2: share_traffic is overruled by --scale-down: ", "", "",
			func(c *Config) bool { return !c.ShareTraffic && c.Takeover == TakeoverScaleDown }},
		"shared, and both by flags": {"share_traffic: true", nil, []string{"--copy-target", "--scale-down"},
			name + ":1: share_traffic is overruled by --scale-down: ", "", "",
			func(c *Config) bool { return !c.ShareTraffic }},
		"shared, and scaled down in one place": {"feature: {copy_target: {scale_down: true}}\nshare_traffic: true", nil, []string{"--copy-target"},
			"", name + ":2: share_traffic is for a copy beside the target", "leave share_traffic out", nil},
		"shared, by flags": {"", nil, []string{"--copy-target", "--scale-down", "--share-traffic"},
			"", "--scale-down: --share-traffic is for a copy beside the target", "leave --share-traffic out", nil},
		"shared, by a variable": {"takeover: scale-down", environ{"UNDERSTUDY_SHARE_TRAFFIC": "yes"}, nil,
			"", name + ":1: UNDERSTUDY_SHARE_TRAFFIC is for a copy", "leave UNDERSTUDY_SHARE_TRAFFIC out", nil},
		"wait, and not scaled down by a flag": {"wait: true\nfeature: {copy_target: {scale_down: true}}", nil, []string{"--scale-down=false"},
			name + ":1: wait is overruled by --scale-down=false: ", "", "",
			func(c *Config) bool { return !c.Wait && c.Takeover == TakeoverCopy }},
		"wait, said outright, and not scaled down": {"wait: true\ntakeover: scale-down", nil, []string{"--scale-down=false"},
			name + ":1: wait is overruled by --scale-down=false: ", "", "",
			func(c *Config) bool { return !c.Wait && c.Takeover == TakeoverCopy }},
		"wait, with nothing to wait for": {"wait: true", nil, []string{"--scale-down=false"},
			name + ":1: wait is overruled by --scale-down=false: ", "", "", func(c *Config) bool { return !c.Wait }},
		"wait, and nobody said more": {"wait: true", nil, nil, "", name + ":1: what leaves the target as it is", "leave wait out", nil},
		"wait, by a flag":            {"takeover: copy", nil, []string{"--wait"}, "", "--wait: what leaves the target as it is", "leave --wait out", nil},

		"a variable for the takeover": {"takeover: copy", environ{"UNDERSTUDY_TAKEOVER": "freeze"}, nil, "", "", "",
			func(c *Config) bool { return c.Takeover == TakeoverFreeze && !c.Paused }},
		"a variable for it, misspelt": {"", environ{"UNDERSTUDY_TAKEOVER": "nap"}, nil, "", `UNDERSTUDY_TAKEOVER: takeover is "nap", where one of copy`, "", nil},
		"two variables for it": {"", environ{"UNDERSTUDY_TAKEOVER": "copy", "MIRRORD_PAUSE": "true"}, nil,
			"", "MIRRORD_PAUSE and UNDERSTUDY_TAKEOVER exclude each other", "choose one of both", nil},
		"a flag over that variable": {"", environ{"UNDERSTUDY_TAKEOVER": "freeze"}, []string{"--copy-target"},
			"UNDERSTUDY_TAKEOVER is overruled by --copy-target: a stand-in is made", "", "",
			func(c *Config) bool { return c.Takeover == TakeoverCopy }},
		"a freeze that a flag denies": {"takeover: freeze", nil, []string{"--pause=false"},
			name + ":1: takeover is overruled by --pause=false: nothing is frozen", "", "",
			func(c *Config) bool { return c.Takeover == TakeoverNone }},
		"a freeze that a variable denies": {"takeover: freeze", environ{"MIRRORD_PAUSE": "false"}, nil,
			name + ":1: takeover is overruled by MIRRORD_PAUSE=false: nothing is frozen", "", "",
			func(c *Config) bool { return c.Takeover == TakeoverNone }},
		"a freeze that the same file denies": {"takeover: freeze\npause: false", nil, nil, "", "", "",
			func(c *Config) bool { return c.Takeover == TakeoverFreeze }},
		"another than a freeze": {"takeover: scale-down", nil, []string{"--pause=false"}, "", "", "",
			func(c *Config) bool { return c.Takeover == TakeoverScaleDown }},
		"a copy that a flag denies": {"takeover: copy", nil, []string{"--copy-target=false"},
			name + ":1: takeover is overruled by --copy-target=false: no stand-in is made", "", "",
			func(c *Config) bool { return c.Takeover == TakeoverNone }},
	} {
		t.Run(title, func(t *testing.T) {
			c, err := setup{files: map[string]string{name: tc.file}, environ: tc.environ, args: append([]string{"-t", "deployment/w"}, tc.args...)}.read(t)
			var overruled []string
			for _, notice := range c.Notices {
				if strings.Contains(notice, "overruled") {
					overruled = append(overruled, notice)
				}
			}
			if said := func(notice string) bool { return strings.HasPrefix(notice, tc.notice) }; (tc.notice == "") != (overruled == nil) || tc.notice != "" && !slices.ContainsFunc(overruled, said) {
				t.Errorf("got notices %q", overruled)
			}
			if said := errorText(err); !strings.HasPrefix(said, tc.wrong) || (said == "") != (tc.wrong == "") {
				t.Errorf("got error %q", said)
			}
			if problems, _ := err.(Problems); tc.hint != "" && !strings.Contains(problems.Hint(), tc.hint) { //nolint:errorlint // it returns nothing else
				t.Errorf("got hint %q", problems.Hint())
			}
			if tc.holds != nil && !tc.holds(c) {
				t.Errorf("got %+v", c)
			}
		})
	}
}
