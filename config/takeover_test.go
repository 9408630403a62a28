package config

import (
	"slices"
	"strings"
	"testing"
)

// TestKeepConnections: each way in which a frozen container's connections are
// kept.
func TestKeepConnections(t *testing.T) {
	freeze := []string{"--pause", "-t", "pod/w"}
	for name, tc := range map[string]setup{
		"the flag":     {args: append(slices.Clone(freeze), "--keep-connections")},
		"the variable": {args: freeze, environ: map[string]string{"UNDERSTUDY_KEEP_CONNECTIONS": "yes"}},
		"the file":     {args: freeze, files: map[string]string{".understudy/understudy.yaml": "release_connections: false"}},
	} {
		if got, err := tc.read(t); err != nil || got.ReleaseConnections {
			t.Errorf("%s: connections are released, error %v", name, err)
		}
	}
	if got, err := (setup{args: freeze}).read(t); err != nil || !got.ReleaseConnections {
		t.Errorf("where nothing is said they are kept, error %v", err)
	}
}

// TestDeprecatedPause: the word is the file's, and a file has another one for it. The
// flag --pause is what help and remarks recommend.
func TestDeprecatedPause(t *testing.T) {
	for name, tc := range map[string]struct {
		setup
		want bool
	}{
		"a file":                          {setup{files: map[string]string{".mirrord/mirrord.json": `{"pause": true, "target": "pod/w"}`}}, true},
		"the flag":                        {setup{args: []string{"--pause", "-t", "pod/w"}}, false},
		"the flag, over the file":         {setup{files: map[string]string{".mirrord/mirrord.json": `{"pause": false, "target": "pod/w"}`}, args: []string{"--pause"}}, false},
		"the variable of the flag":        {setup{environ: map[string]string{"UNDERSTUDY_PAUSE": "true"}, args: []string{"-t", "pod/w"}}, false},
		"the file, but a flag is over it": {setup{files: map[string]string{".mirrord/mirrord.json": `{"pause": true, "target": "pod/w"}`}, args: []string{"--copy-target"}}, false},
	} {
		c, err := tc.read(t)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := strings.Contains(strings.Join(c.Notices, "\n"), "pause is deprecated"); got != tc.want {
			t.Errorf("%s: it is called deprecated: %t; %q", name, got, c.Notices)
		}
	}
}

func TestTakeover(t *testing.T) {
	const file = ".understudy/understudy.yaml"
	for name, tc := range map[string]struct {
		file   string
		args   []string
		want   Takeover
		paused bool
		wrong  string
	}{
		"nothing":                                  {"", nil, TakeoverNone, false, ""},
		"a target alone":                           {"target: deployment/w", nil, TakeoverNone, false, ""},
		"no target, said so":                       {"target: targetless", nil, TakeoverNone, false, ""},
		"a copy":                                   {"feature: {copy_target: true}", nil, TakeoverCopy, false, ""},
		"an object is a copy":                      {"feature: {copy_target: {exclude_containers: [x]}}", nil, TakeoverCopy, false, ""},
		"an object that is off":                    {"feature: {copy_target: {enabled: false, scale_down: true}}", nil, TakeoverNone, false, "feature.copy_target.scale_down needs a stand-in"},
		"scaled down":                              {"feature: {copy_target: {scale_down: true}}", nil, TakeoverScaleDown, false, ""},
		"scaled down by a flag":                    {"feature: {copy_target: true}", []string{"--scale-down"}, TakeoverScaleDown, false, ""},
		"scale down alone":                         {"", []string{"--scale-down"}, TakeoverNone, false, "--scale-down needs a stand-in that runs instead of the target"},
		"said outright":                            {"takeover: scale-down", nil, TakeoverScaleDown, false, ""},
		"said twice":                               {"{takeover: scale-down, feature: {copy_target: {exclude_containers: [x]}}}", nil, TakeoverScaleDown, false, ""},
		"pause":                                    {"{pause: true, target: deployment/w}", nil, TakeoverFreeze, true, ""},
		"the oldest pause":                         {"{agent: {pause: true}, target: deployment/w}", nil, TakeoverFreeze, true, ""},
		"pause, by a flag a copy":                  {"pause: true", []string{"--copy-target"}, TakeoverCopy, false, ""},
		"a copy, by a flag pause":                  {"{feature: {copy_target: true}, target: deployment/w}", []string{"--pause"}, TakeoverFreeze, true, ""},
		"pause and a copy, by flags":               {"", []string{"-t", "deployment/w", "--pause", "--copy-target"}, TakeoverScaleDown, false, "--pause and --copy-target exclude each other"},
		"pause and a copy, in the file":            {"{pause: true, feature: {copy_target: true}}", nil, TakeoverCopy, false, "pause and feature.copy_target exclude each other"},
		"freeze and a copy":                        {"{takeover: freeze, feature: {copy_target: true}}", nil, TakeoverFreeze, false, "feature.copy_target and takeover exclude each other"},
		"freeze, outright":                         {"{takeover: freeze, target: deployment/w}", nil, TakeoverFreeze, false, ""},
		"scaled down by a flag, outright a copy":   {"takeover: copy", []string{"--scale-down"}, TakeoverScaleDown, false, ""},
		"not scaled down by a flag":                {"takeover: scale-down", []string{"--scale-down=false"}, TakeoverCopy, false, ""},
		"not scaled down in the file, by a flag":   {"feature: {copy_target: {scale_down: false}}", []string{"--scale-down"}, TakeoverScaleDown, false, ""},
		"paused, and scaled down by a flag":        {"{pause: true, target: deployment/w}", []string{"--scale-down"}, TakeoverScaleDown, false, ""},
		"paused, and no copy that is scaled down":  {"{pause: true, target: deployment/w}", []string{"--scale-down", "--copy-target=false"}, TakeoverFreeze, true, "--scale-down needs a stand-in"},
		"paused and scaled down, by flags":         {"", []string{"-t", "deployment/w", "--pause", "--scale-down"}, TakeoverFreeze, true, "--scale-down and --pause exclude each other"},
		"frozen and scaled down":                   {"{takeover: freeze, target: deployment/w, feature: {copy_target: {enabled: false, scale_down: true}}}", nil, TakeoverFreeze, false, "feature.copy_target.scale_down and takeover exclude each other"},
		"a copy and scaled down":                   {"{takeover: copy, feature: {copy_target: {scale_down: true}}}", nil, TakeoverCopy, false, "feature.copy_target.scale_down and takeover exclude each other"},
		"scaled down and not":                      {"{takeover: scale-down, feature: {copy_target: {scale_down: false}}}", nil, TakeoverScaleDown, false, "feature.copy_target.scale_down and takeover exclude each other"},
		"scaled down, said twice":                  {"{takeover: scale-down, feature: {copy_target: {scale_down: true}}}", nil, TakeoverScaleDown, false, ""},
		"scaled down in the file, a flag pauses":   {"{feature: {copy_target: {scale_down: true}}, target: deployment/w}", []string{"--pause"}, TakeoverFreeze, true, ""},
		"paused in the file, a flag scales a copy": {"pause: true", []string{"--copy-target", "--scale-down"}, TakeoverScaleDown, false, ""},
		"another word":                             {"takeover: nap", nil, TakeoverNone, false, `takeover is "nap", where one of copy, scale-down, freeze, none is expected`},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			if tc.file != "" {
				files[file] = tc.file
			}
			environ := map[string]string{"UNDERSTUDY_TARGET": "deployment/w"}
			c, err := setup{files, environ, tc.args}.read(t)
			if said := errorText(err); (said == "") != (tc.wrong == "") || !strings.Contains(said, tc.wrong) {
				t.Errorf("got error %q", said)
			}
			if tc.want != c.Takeover && !strings.Contains(tc.wrong, "--pause and") || tc.paused != c.Paused {
				t.Errorf("got %s, paused %t", c.Takeover, c.Paused)
			}
		})
	}
}

// TestTakeoverBetweenPlaces: of what two places say the higher counts, and whoever
// said the other is told, wherever that changes the takeover.
func TestTakeoverBetweenPlaces(t *testing.T) {
	const name = ".understudy/understudy.yaml"
	const (
		held    = ": a stand-in is made, and the target is held at zero"
		copied  = ": a stand-in is made, and the target goes on running"
		frozen  = ": the target is frozen"
		left    = ": the target is left as it is"
		outcast = ": no stand-in is made"
	)
	for title, tc := range map[string]struct {
		file    string
		environ map[string]string
		args    string
		want    Takeover
		notices []string
	}{
		"held, and a flag asks for a copy":         {"takeover: scale-down", nil, "--copy-target", TakeoverScaleDown, nil},
		"held by the switch, and a flag":           {"feature: {copy_target: {scale_down: true}}", nil, "--copy-target", TakeoverScaleDown, nil},
		"held by a variable, and a flag":           {"", map[string]string{"UNDERSTUDY_TAKEOVER": "scale-down"}, "--copy-target", TakeoverScaleDown, nil},
		"held, and flags ask for a copy that runs": {"takeover: scale-down", nil, "--copy-target --scale-down=false", TakeoverCopy, []string{name + ":1: takeover is overruled by --scale-down=false" + copied}},
		"held, and a flag runs it":                 {"takeover: scale-down", nil, "--scale-down=false", TakeoverCopy, []string{name + ":1: takeover is overruled by --scale-down=false" + copied}},
		"held, and a variable runs it, and a flag": {"takeover: scale-down", map[string]string{"UNDERSTUDY_SCALE_DOWN": "false"}, "--copy-target", TakeoverCopy,
			[]string{name + ":1: takeover is overruled by UNDERSTUDY_SCALE_DOWN=false" + copied}},
		"held, and a flag says so too":       {"takeover: scale-down", nil, "--copy-target --scale-down", TakeoverScaleDown, nil},
		"held, and a flag pauses":            {"takeover: scale-down", nil, "--pause", TakeoverFreeze, []string{name + ":1: takeover is overruled by --pause" + frozen}},
		"a copy, and a flag holds":           {"takeover: copy", nil, "--scale-down", TakeoverScaleDown, []string{name + ":1: takeover is overruled by --scale-down" + held}},
		"a copy, and flags hold":             {"takeover: copy", nil, "--copy-target --scale-down", TakeoverScaleDown, []string{name + ":1: takeover is overruled by --scale-down" + held}},
		"a copy, and a flag pauses":          {"feature: {copy_target: true}", nil, "--pause", TakeoverFreeze, []string{name + ":1: feature.copy_target is overruled by --pause" + frozen}},
		"a copy that is held, a flag pauses": {"feature:\n  copy_target:\n    scale_down: true\n", nil, "--pause", TakeoverFreeze, []string{name + ":3: feature.copy_target.scale_down is overruled by --pause" + frozen}},
		"a copy that is held, a variable copies": {"feature: {copy_target: {scale_down: true}}", map[string]string{"UNDERSTUDY_TAKEOVER": "copy"}, "", TakeoverCopy,
			[]string{name + ":1: feature.copy_target.scale_down is overruled by UNDERSTUDY_TAKEOVER" + copied}},
		"a copy that is not held, a variable holds": {"feature: {copy_target: {scale_down: false}}", map[string]string{"UNDERSTUDY_TAKEOVER": "scale-down"}, "", TakeoverScaleDown,
			[]string{name + ":1: feature.copy_target.scale_down is overruled by UNDERSTUDY_TAKEOVER" + held}},
		"a copy that is held, a variable leaves it": {"feature: {copy_target: {scale_down: true}}", map[string]string{"UNDERSTUDY_TAKEOVER": "none"}, "", TakeoverNone,
			[]string{name + ":1: feature.copy_target.scale_down is overruled by UNDERSTUDY_TAKEOVER" + left}},
		"a copy that is held, and none by a flag": {"feature: {copy_target: {scale_down: true}}", nil, "--copy-target=false", TakeoverNone,
			[]string{name + ":1: feature.copy_target.scale_down is overruled by --copy-target=false" + outcast}},
		"held outright, and none by a flag": {"takeover: scale-down", nil, "--copy-target=false", TakeoverNone, []string{name + ":1: takeover is overruled by --copy-target=false" + outcast}},
		"frozen, and a flag copies":         {"takeover: freeze", nil, "--copy-target", TakeoverCopy, []string{name + ":1: takeover is overruled by --copy-target" + copied}},
		"frozen, and flags hold":            {"takeover: freeze", nil, "--copy-target --scale-down", TakeoverScaleDown, []string{name + ":1: takeover is overruled by --scale-down" + held}},
		"frozen, and a flag holds":          {"takeover: freeze", nil, "--scale-down", TakeoverScaleDown, []string{name + ":1: takeover is overruled by --scale-down" + held}},
		"frozen by a variable, a flag holds": {"", map[string]string{"UNDERSTUDY_TAKEOVER": "freeze"}, "--scale-down", TakeoverScaleDown,
			[]string{"UNDERSTUDY_TAKEOVER is overruled by --scale-down" + held}},
		"frozen, and a flag does not hold": {"takeover: freeze", nil, "--scale-down=false", TakeoverFreeze, nil},
		"frozen, and a flag pauses":        {"takeover: freeze", nil, "--pause", TakeoverFreeze, nil},
		"paused, and a flag copies":        {"pause: true", nil, "--copy-target", TakeoverCopy, []string{name + ":1: pause is overruled by --copy-target" + copied}},
		"paused, and a flag holds":         {"pause: true", nil, "--scale-down", TakeoverScaleDown, []string{name + ":1: pause is overruled by --scale-down" + held}},
		"paused by a variable, held in the file": {"takeover: scale-down", map[string]string{"MIRRORD_PAUSE": "true"}, "", TakeoverFreeze,
			[]string{name + ":1: takeover is overruled by MIRRORD_PAUSE" + frozen}},
		"left, and a flag pauses": {"takeover: none", nil, "--pause", TakeoverFreeze, []string{name + ":1: takeover is overruled by --pause" + frozen}},
		"three places": {"takeover: copy", map[string]string{"UNDERSTUDY_PAUSE": "true"}, "--copy-target --scale-down", TakeoverScaleDown,
			[]string{name + ":1: takeover is overruled by --scale-down" + held, "UNDERSTUDY_PAUSE is overruled by --scale-down" + held}},
	} {
		t.Run(title, func(t *testing.T) {
			c, err := setup{map[string]string{name: tc.file}, tc.environ, append([]string{"-t", "deployment/w"}, strings.Fields(tc.args)...)}.read(t)
			if err != nil || c.Takeover != tc.want {
				t.Errorf("got %s, error %v", c.Takeover, err)
			}
			var overruled []string
			for _, notice := range c.Notices {
				if strings.Contains(notice, "overruled") {
					overruled = append(overruled, notice)
				}
			}
			if !slices.Equal(overruled, tc.notices) {
				t.Errorf("got notices %q", overruled)
			}
		})
	}
}
