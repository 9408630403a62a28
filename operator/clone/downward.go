package clone

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// downward keeps what a pod says about its containers' resources true to the
// target, whose application sizes its heap and its pools by it: the agent has
// other resources, and an excluded container none.
type downward struct {
	original  *corev1.PodSpec
	target    string
	excluded  map[string]bool
	container bounds

	// annotations hold the values that files are made of.
	annotations map[string]string
	// unlimited are the resources of which something reads that the target has
	// no limit; the kubelet then gives the node's capacity.
	unlimited map[corev1.ResourceName]bool
}

// annotationPrefix and a number make the annotations for files.
const annotationPrefix = ownAnnotationPrefix + "resource-"

// resolve puts the target's values in the place of references to the
// resources of the replaced and of excluded containers.
func (d *downward) resolve(spec *corev1.PodSpec) {
	for container := range everyContainer(spec) {
		for i := range container.Env {
			env := &container.Env[i]
			if env.ValueFrom == nil || env.ValueFrom.ResourceFieldRef == nil {
				continue
			}
			if value, known := d.value(env.ValueFrom.ResourceFieldRef, container.Name); known {
				env.Value, env.ValueFrom = value, nil
			}
		}
	}
	for i := range spec.Volumes {
		volume := &spec.Volumes[i]
		if volume.DownwardAPI != nil {
			d.resolveFiles(volume.DownwardAPI.Items)
		}
		if volume.Projected == nil {
			continue
		}
		for j := range volume.Projected.Sources {
			if source := volume.Projected.Sources[j].DownwardAPI; source != nil {
				d.resolveFiles(source.Items)
			}
		}
	}
}

// resolveFiles makes files of annotations: a file of the downward API has no
// literal content.
func (d *downward) resolveFiles(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		if items[i].ResourceFieldRef == nil {
			continue
		}
		value, known := d.value(items[i].ResourceFieldRef, "")
		if !known {
			continue
		}
		key := annotationPrefix + strconv.Itoa(len(d.annotations)+1)
		d.annotations[key] = value
		items[i].ResourceFieldRef = nil
		items[i].FieldRef = &corev1.ObjectFieldSelector{
			APIVersion: "v1",
			FieldPath:  fmt.Sprintf("metadata.annotations['%s']", key),
		}
	}
}

// value gives what a reference in a container of that name came to in the
// target. It is not known where the reference is true as it stands, or was the
// capacity of a node.
func (d *downward) value(ref *corev1.ResourceFieldSelector, in string) (value string, known bool) {
	name := ref.ContainerName
	if name == "" {
		name = in
	}
	if name != d.target && !d.excluded[name] {
		return "", false
	}
	container := findContainer(d.original, name)
	if container == nil {
		return "", false
	}
	resources := effective(container.Resources, d.container)
	kind, rest, _ := strings.Cut(ref.Resource, ".")
	resourceName := corev1.ResourceName(rest)
	quantity := resources.Requests[resourceName]
	if kind == "limits" {
		quantity = resources.Limits[resourceName]
		if quantity.IsZero() && d.original.Resources != nil {
			quantity = d.original.Resources.Limits[resourceName]
		}
		if quantity.IsZero() && !isHugePage(resourceName) {
			d.unlimited[resourceName] = true
			if d.excluded[name] {
				// It is not there to be asked; the target has no limit now
				// and gives the same answer.
				ref.ContainerName = d.target
			}
			return "", false
		}
	}
	return divided(resourceName, quantity, ref.Divisor), true
}

// divided gives a quantity in units of the divisor, rounded up, as the kubelet
// does: CPU by thousandths, all else by whole numbers.
func divided(name corev1.ResourceName, quantity, divisor resource.Quantity) string {
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == corev1.ResourceCPU {
		return strconv.FormatInt(ceil(quantity.MilliValue(), divisor.MilliValue()), 10)
	}
	return strconv.FormatInt(ceil(quantity.Value(), divisor.Value()), 10)
}
