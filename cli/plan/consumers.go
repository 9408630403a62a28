package plan

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// consumers are the workloads that may read from the queue that the target
// reads from, and go on: those that share a Secret or ConfigMap with its
// container, or an address in a variable. Nobody can know which of them is the
// queue's, so that all are named, and why.
func consumers(w *World) []Finding {
	spec := w.spec()
	if w.Target.None() || spec == nil {
		return nil
	}
	var ours map[string]string
	for _, c := range running(spec) {
		if c.Name == w.Target.Container {
			ours = sources(c, spec.Volumes, w.Target.Namespace)
		}
	}
	var found []Finding
	for i := range w.Workloads.Items {
		l := &w.Workloads.Items[i]
		if l.UID == w.Target.UID || w.same(l.UID) || l.Template == nil || l.Counted && l.Replicas == 0 {
			continue
		}
		shared := map[string]string{}
		for _, c := range running(&l.Template.Spec) {
			for key := range sources(c, l.Template.Spec.Volumes, w.Target.Namespace) {
				if how, is := ours[key]; is {
					shared[key] = how
				}
			}
		}
		if len(shared) == 0 {
			continue
		}
		var why []string
		for _, key := range slices.Sorted(maps.Keys(shared)) {
			why = append(why, shared[key])
		}
		found = append(found, Finding{MayReadTheSame, w.matters(), fmt.Sprintf("%s may read from the same queue, and goes on: it shares %s", l, strings.Join(why, ", ")), ""})
	}
	return found
}

// matters is how much it does that somebody else reads.
func (w *World) matters() Severity {
	if w.holds() {
		return Warns
	}
	return Notes
}

// everybodys is the ConfigMap that every pod has.
const everybodys = "kube-root-ca.crt"

// sources are what a container is configured by, each with how a person names
// it. No value of a variable is in it, which may be a password: of an address
// only host and port.
func sources(c *corev1.Container, volumes []corev1.Volume, namespace string) map[string]string {
	found := map[string]string{}
	add := func(kind, name string) {
		if name != "" && name != everybodys {
			found[kind+" "+name] = kind + " " + name
		}
	}
	for _, from := range c.EnvFrom {
		if from.SecretRef != nil {
			add("secret", from.SecretRef.Name)
		}
		if from.ConfigMapRef != nil {
			add("configmap", from.ConfigMapRef.Name)
		}
	}
	for _, env := range c.Env {
		if from := env.ValueFrom; from != nil && from.SecretKeyRef != nil {
			add("secret", from.SecretKeyRef.Name)
		} else if from != nil && from.ConfigMapKeyRef != nil {
			add("configmap", from.ConfigMapKeyRef.Name)
		}
		for _, address := range addresses(env.Value, namespace) {
			found["address "+address] = fmt.Sprintf("the address %s (its %s)", address, env.Name)
		}
	}
	for _, mount := range c.VolumeMounts {
		for _, volume := range volumes {
			if volume.Name != mount.Name {
				continue
			}
			if volume.Secret != nil {
				add("secret", volume.Secret.SecretName)
			}
			if volume.ConfigMap != nil {
				add("configmap", volume.ConfigMap.Name)
			}
			if volume.Projected == nil {
				continue
			}
			for _, source := range volume.Projected.Sources {
				if source.Secret != nil {
					add("secret", source.Secret.Name)
				}
				if source.ConfigMap != nil {
					add("configmap", source.ConfigMap.Name)
				}
			}
		}
	}
	return found
}

// addresses are the hosts and ports in a variable's value: of URLs, and of a
// list as brokers are often given.
func addresses(value, namespace string) []string {
	var found []string
	for _, part := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		host := part
		if strings.Contains(part, "://") {
			parsed, err := url.Parse(part)
			if err != nil {
				continue
			}
			host = parsed.Host
		} else if !isHostPort(part) {
			continue
		}
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = host, ""
		}
		if name = shortest(strings.ToLower(name), namespace); name == "" || name == "localhost" {
			continue
		}
		if ip := net.ParseIP(name); ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
			continue
		}
		if port != "" {
			name = net.JoinHostPort(name, port)
		}
		found = append(found, name)
	}
	return found
}

func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || strings.ContainsAny(host, "/@$=") {
		return false
	}
	number, err := strconv.Atoi(port)
	_, clock := strconv.Atoi(host) // "12:30" is no address
	return err == nil && clock != nil && number > 0 && number < 1<<16
}

// shortest is the shortest name by which pods of the namespace reach a service.
func shortest(host, namespace string) string {
	host = strings.TrimSuffix(host, ".")
	if service, cluster, is := strings.Cut(host, ".svc"); is && (cluster == "" || strings.HasPrefix(cluster, ".")) {
		host = service
	}
	return strings.TrimSuffix(host, "."+namespace)
}
