package clone

import (
	"maps"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// bounds are what the limit ranges of a namespace say of one kind of thing,
// all of them together.
type bounds struct {
	min, max, ratio          corev1.ResourceList
	defaults, defaultRequest corev1.ResourceList
}

// boundsOf collects the bounds for containers or for whole pods.
func boundsOf(ranges []corev1.LimitRange, kind corev1.LimitType) bounds {
	b := bounds{
		min: corev1.ResourceList{}, max: corev1.ResourceList{}, ratio: corev1.ResourceList{},
		defaults: corev1.ResourceList{}, defaultRequest: corev1.ResourceList{},
	}
	for _, limitRange := range ranges {
		for _, item := range limitRange.Spec.Limits {
			if item.Type != kind {
				continue
			}
			tighten(b.min, item.Min, 1)
			tighten(b.max, item.Max, -1)
			tighten(b.ratio, item.MaxLimitRequestRatio, -1)
			fill(b.defaults, item.Default)
			fill(b.defaultRequest, item.DefaultRequest)
		}
	}
	return b
}

// tighten keeps the greater of two quantities where sign is 1, the smaller
// where it is -1.
func tighten(list, with corev1.ResourceList, sign int) {
	for name, quantity := range with {
		if have, ok := list[name]; !ok || quantity.Cmp(have) == sign {
			list[name] = quantity.DeepCopy()
		}
	}
}

// fill sets what is not there.
func fill(list, with corev1.ResourceList) {
	for name, quantity := range with {
		if _, ok := list[name]; !ok {
			list[name] = quantity.DeepCopy()
		}
	}
}

// effective gives a container's resources as they are once the API server has
// filled in what the template left open.
func effective(of corev1.ResourceRequirements, container bounds) corev1.ResourceRequirements {
	filled := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
	fill(filled.Limits, of.Limits)
	fill(filled.Requests, of.Requests)
	fill(filled.Requests, of.Limits)
	fill(filled.Limits, container.defaults)
	fill(filled.Requests, container.defaultRequest)
	return filled
}

// clamp brings one resource of a container within the bounds.
func (b bounds) clamp(resources corev1.ResourceRequirements, name corev1.ResourceName) {
	request, hasRequest := resources.Requests[name]
	limit, hasLimit := resources.Limits[name]
	if least, ok := b.min[name]; ok {
		request, limit = atLeast(request, least), atLeast(limit, least)
	}
	if most, ok := b.max[name]; ok {
		request, limit = atMost(request, most), atMost(limit, most)
	}
	if hasLimit && hasRequest {
		limit = atLeast(limit, request)
		if ratio, ok := b.ratio[name]; ok {
			request = atLeast(request, divideUp(limit, ratio))
		}
	}
	if hasRequest {
		resources.Requests[name] = request
	}
	if hasLimit {
		resources.Limits[name] = limit
	}
}

// hold says whether one resource is within the bounds, as admission does.
func (b bounds) hold(resources corev1.ResourceRequirements, name corev1.ResourceName) bool {
	request, hasRequest := resources.Requests[name]
	limit, hasLimit := resources.Limits[name]
	if least, ok := b.min[name]; ok {
		if !hasRequest || request.Cmp(least) < 0 || hasLimit && limit.Cmp(least) < 0 {
			return false
		}
	}
	if most, ok := b.max[name]; ok {
		if !hasLimit || limit.Cmp(most) > 0 || hasRequest && request.Cmp(most) > 0 {
			return false
		}
	}
	if ratio, ok := b.ratio[name]; ok {
		if request.IsZero() || limit.IsZero() {
			return false
		}
		enough := divideUp(limit, ratio)
		return request.Cmp(enough) >= 0
	}
	return true
}

// names are the resources that are bounded, sorted.
func (b bounds) names() []corev1.ResourceName {
	names := slices.Collect(maps.Keys(b.min))
	names = slices.AppendSeq(names, maps.Keys(b.max))
	names = slices.AppendSeq(names, maps.Keys(b.ratio))
	slices.Sort(names)
	return slices.Compact(names)
}

func atLeast(quantity, least resource.Quantity) resource.Quantity {
	if quantity.Cmp(least) < 0 {
		return least.DeepCopy()
	}
	return quantity
}

func atMost(quantity, most resource.Quantity) resource.Quantity {
	if quantity.Cmp(most) > 0 {
		return most.DeepCopy()
	}
	return quantity
}

// wholeFrom is where thousandths no longer count: above it a quantity is of
// bytes, not of CPUs.
const wholeFrom = 1 << 20

// divideUp divides a quantity by a ratio, rounding up.
func divideUp(quantity, ratio resource.Quantity) resource.Quantity {
	thousandths := ratio.MilliValue()
	switch {
	case thousandths <= 0:
		return quantity
	case quantity.Value() < wholeFrom:
		return *resource.NewMilliQuantity(ceil(quantity.MilliValue()*1000, thousandths), quantity.Format)
	case quantity.Value() <= math.MaxInt64/1000:
		return *resource.NewQuantity(ceil(quantity.Value()*1000, thousandths), quantity.Format)
	default:
		return *resource.NewQuantity(ceil(quantity.Value(), thousandths)*1000, quantity.Format)
	}
}

func ceil(number, by int64) int64 {
	return (number + by - 1) / by
}
