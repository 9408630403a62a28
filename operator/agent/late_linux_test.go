package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.dev/understudy/operator/agent/settings"
)

// An agent that is started when nobody waits for it any more does nothing.
func TestAgentTooLate(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		notAfter time.Time
		late     bool
	}{
		"it is too late":   {time.Now().Add(-time.Second), true},
		"there is time":    {time.Now().Add(time.Hour), false},
		"it is never late": {time.Time{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			config, err := json.Marshal(settings.Config{
				Session: "s", Port: settings.DefaultPort, ClientKey: key, LeaseSeconds: 60,
				Freeze: &settings.Freeze{Pod: "shop/none", PodUID: "of-no-pod", Container: "app", ContainerID: "none", NotAfter: test.notAfter},
			})
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, settings.ConfigFile), config, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			said, err := enterPod(context.Background(), nodePlaces{config: &dir, once: t.TempDir(), state: t.TempDir()})
			// One that is in time finds that there is no such pod.
			if late := err == nil && strings.HasPrefix(said, settings.TooLate); late != test.late || (err != nil) == test.late {
				t.Errorf("it says %q, %v", said, err)
			}
		})
	}
}
