package plan

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// What the API server's own checks say of the stand-in.
func TestPodSecurity(t *testing.T) {
	tight := strings.Replace(worker, "        image: x\n", "        image: x\n        securityContext: {runAsNonRoot: true, allowPrivilegeEscalation: false, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL]}}\n", 1)
	for name, c := range map[string]struct {
		manifest, labels string
		want             []string
	}{
		"nothing enforced":      {worker, "{}", nil},
		"only warned of":        {worker, "{pod-security.kubernetes.io/warn: restricted}", nil},
		"restricted":            {worker, "{pod-security.kubernetes.io/enforce: restricted}", []string{"blocks PodSecurity: restricted:latest does not let the stand-in in: allowPrivilegeEscalation != false"}},
		"restricted, and it is": {tight, "{pod-security.kubernetes.io/enforce: restricted}", nil},
		"an older version":      {tight, "{pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/enforce-version: v1.20}", nil},
		"baseline is enough":    {worker, "{pod-security.kubernetes.io/enforce: baseline}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, c.manifest, func(w *World) {
				w.Namespace = seeing[corev1.Namespace](t, "{metadata: {name: shop, labels: "+c.labels+"}}")
			})
			expect(t, podSecurity(w), c.want...)
		})
	}
}
