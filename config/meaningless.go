package config

import (
	"fmt"
	"math"
	"slices"

	"understudy.dev/understudy/config/decision"
	"understudy.dev/understudy/config/source"
)

// meaningless holds what has no meaning here to the forms that the other tool takes:
// what is misspelt may have been meant for something that does have one. The name is
// as a person counts, key as the table of decisions has it. It says whether there was
// anything but what is decided for itself.
func (f *file) meaningless(key, name string, line int, value *source.Node) (something bool) {
	of := decision.Shapes(key)
	at := slices.IndexFunc(of, func(shape decision.Shape) bool { return takes(shape, value) })
	if at < 0 {
		if value.Line > 0 {
			line = value.Line
		}
		f.wrong(line, "", "%s is %s, where %s is expected", name, value, decision.Expected(of))
		return true
	}
	switch inner := value.Value.(type) {
	case []*source.Node:
		for i, item := range inner {
			f.element(of, key+"[]", fmt.Sprintf("%s[%d]", name, i), item.Line, item)
		}
	case []source.Member:
		known := decision.Below(key)
		for _, member := range inner {
			below, named := key+"."+member.Key, name+"."+member.Key
			switch row := decision.Key(below); {
			case member.Value.Value == nil:
			case row != nil && row.Name == below && row.Verdict != decision.Meaningless:
				f.read(below, member)
				continue
			case slices.Contains(known, member.Key):
				f.meaningless(below, named, member.Line, member.Value)
			case len(known) > 0:
				f.unknown(below, named, member.Line)
			default:
				f.element(of, below, named, member.Line, member.Value)
			}
			something = true
		}
		return something
	}
	return true
}

// element checks one of a list, or of an object whose keys are a person's own.
func (f *file) element(of []decision.Shape, key, name string, line int, value *source.Node) {
	var inner []decision.Shape
	for _, shape := range of {
		inner = append(inner, shape.Of...)
	}
	switch {
	case len(inner) == 0: // nothing is known of it
	case !slices.ContainsFunc(inner, func(shape decision.Shape) bool { return takes(shape, value) }):
		f.wrong(line, "", "%s is %s, where %s is expected", name, value, decision.Expected(inner))
	case len(decision.Below(key)) > 0:
		f.meaningless(key, name, line, value)
	}
}

// takes says whether a value has a form, but for what is inside of it.
func takes(shape decision.Shape, value *source.Node) bool {
	if shape.Kind == "any" {
		return true
	}
	switch v := value.Value.(type) {
	case bool:
		return shape.Kind == "boolean"
	case string:
		return shape.Kind == "string" && (shape.Values == nil || slices.Contains(shape.Values, v))
	case int64:
		return shape.Kind == "integer" && shape.Least <= v && v <= shape.Most
	case float64: // as a whole number is that is too large for others
		return shape.Kind == "integer" && shape.Most == math.MaxInt64 && v == math.Trunc(v) && v > 0
	case []*source.Node:
		return shape.Kind == "list"
	case []source.Member:
		return shape.Kind == "object"
	}
	return false
}
