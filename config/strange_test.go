package config

import (
	"strings"
	"testing"
)

// TestUnknownVariables: a name that nothing reads is told, with the one that is nearest.
func TestUnknownVariables(t *testing.T) {
	for name, want := range map[string]string{
		"UNDERSTUDY_TARGE":        "there is no variable UNDERSTUDY_TARGE: did you mean UNDERSTUDY_TARGET?",
		"UNDERSTUDY_COPY_TARGETS": "there is no variable UNDERSTUDY_COPY_TARGETS: did you mean UNDERSTUDY_COPY_TARGET?",
		"UNDERSTUDY_SCALEDOWN":    "there is no variable UNDERSTUDY_SCALEDOWN: did you mean UNDERSTUDY_SCALE_DOWN?",
		"UNDERSTUDY_CONFIGFILE":   "there is no variable UNDERSTUDY_CONFIGFILE: did you mean UNDERSTUDY_CONFIG_FILE?",

		"MIRRORD_IMPERSONATED_TARGETS": "there is no variable MIRRORD_IMPERSONATED_TARGETS: did you mean MIRRORD_IMPERSONATED_TARGET?",
		"MIRRORD_PAUSED":               "there is no variable MIRRORD_PAUSED: did you mean MIRRORD_PAUSE?",
		"UNDERSTUDY_ENTIRELY_OTHER":    "there is no variable UNDERSTUDY_ENTIRELY_OTHER",
	} {
		c, err := setup{environ: map[string]string{name: "1"}, args: []string{"--copy-target", "-t", "pod/x"}}.read(t)
		if err != nil || !strings.Contains(strings.Join(c.Notices, "\n")+"\n", want) {
			t.Errorf("%s: %v, %q", name, err, c.Notices)
		}
	}
	// What is known, what the tools and a cluster give to processes, and what is empty.
	for _, name := range []string{
		"UNDERSTUDY_TARGET", "MIRRORD_TARGET_NAMESPACE", "UNDERSTUDY_TAKEOVER", "MIRRORD_BRANCH_NAME", "MIRRORD_CONFIG_FILE", "UNDERSTUDY_SERVICE_HOST",
		"UNDERSTUDY_OPERATOR_PORT_443_TCP_ADDR", "MIRRORD_LAYER_INTPROXY_ADDR", "MIRRORD_PROGRESS_MODE", "MIRRORD_RESOLVED_CONFIG", "MIRRORD_AGENT_CONNECT_INFO",
		"MIRRORDX", "XUNDERSTUDY_TARGE", "_UNDERSTUDY_STAGE", "UNDERSTUDY_TEST_CLUSTER",
	} {
		c, _ := setup{environ: map[string]string{name: "copy"}, args: []string{"--copy-target", "-t", "pod/x", "-f", "none"}}.read(t)
		if said := strings.Join(c.Notices, "\n"); strings.Contains(said, "there is no variable") {
			t.Errorf("%s: %q", name, said)
		}
	}
	c, _ := setup{environ: map[string]string{"UNDERSTUDY_TARGE": ""}}.read(t)
	if said := strings.Join(c.Notices, "\n"); strings.Contains(said, "there is no variable") {
		t.Error(said)
	}
}
