package config

import (
	"strings"
	"testing"
)

func TestPause(t *testing.T) {
	for name, tc := range map[string]struct {
		pods     Pods
		takeover Takeover
		notice   string
		problem  string
	}{
		"a bare pod":                       {Pods{"pod/w", true, 1, true}, TakeoverFreeze, "", ""},
		"a bare pod, no operator":          {Pods{"pod/w", true, 1, false}, TakeoverFreeze, "", ""},
		"one pod":                          {Pods{"deployment/w", false, 1, true}, TakeoverFreeze, "", ""},
		"one pod, no operator":             {Pods{"deployment/w", false, 1, false}, TakeoverFreeze, "", ""},
		"several pods":                     {Pods{"deployment/w", false, 3, true}, TakeoverScaleDown, "deployment/w has 3 pods", ""},
		"several pods, no operator":        {Pods{"deployment/w", false, 3, false}, "", "", "pausing one of the 3 pods of deployment/w"},
		"none":                             {Pods{"deployment/w", false, 0, true}, "", "", "deployment/w runs no pod"},
		"none, and no operator to hold it": {Pods{"deployment/w", false, 0, false}, "", "", "deployment/w runs no pod"},
	} {
		t.Run(name, func(t *testing.T) {
			takeover, notice, err := Pause(tc.pods)
			if takeover != tc.takeover || !strings.HasPrefix(notice, tc.notice) || (notice == "") != (tc.notice == "") {
				t.Errorf("got %q, %q", takeover, notice)
			}
			if said := errorText(err); !strings.HasPrefix(said, tc.problem) || (said == "") != (tc.problem == "") {
				t.Errorf("got error %q", said)
			}
			// What is asked for outright is never changed into something else.
			if err := Freeze(tc.pods); (err == nil) != (tc.takeover == TakeoverFreeze) {
				t.Errorf("a freeze asked for outright: %v", err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
