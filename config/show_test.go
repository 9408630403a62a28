package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShow: what is shown says the same when it is read.
func TestShow(t *testing.T) {
	for _, text := range []string{
		"{target: pod/w, takeover: copy}",
		"{target: deployment/a, takeover: scale-down, listen: [all, 80], lease: 90s, feature: {env: {override: {A: 'true', b: '2'}, include: [X]}, fs: local, network: {incoming: {port_mapping: [[1, 2]], ports: [2]}, outgoing: {udp: false}}, hostname: false}}",
	} {
		first, err := setup{files: map[string]string{".understudy/understudy.yaml": text}}.read(t)
		if err != nil {
			t.Fatal(err)
		}
		for _, everything := range []bool{true, false} {
			shown, err := first.Show(everything)
			if err != nil {
				t.Fatal(err)
			}
			second, err := setup{files: map[string]string{".understudy/understudy.yaml": string(shown)}}.read(t)
			if err != nil {
				t.Fatalf("%v\n%s", err, shown)
			}
			if diff := cmp.Diff(first, second); diff != "" {
				t.Errorf("%s\n(-first +second):\n%s", shown, diff)
			}
		}
	}
}
