package config

import (
	"fmt"
	"reflect"

	"understudy.dev/understudy/config/source"
)

// elements are what is expected of each element of a value that has several.
var elements = map[reflect.Type]string{
	reflect.TypeFor[[]string]():          "a string",
	reflect.TypeFor[map[string]string](): "a string",
	reflect.TypeFor[[]uint16]():          "a port from 1 to 65535",
	reflect.TypeFor[[]PortPair]():        "a pair of ports, as in [8080, 80],",
	reflect.TypeFor[Listen]():            "a port from 1 to 65535, or all,",
}

// mistyped is what to say of a value that does not fit its field: of the first
// element that does not where it has elements, else of the value.
func mistyped(key string, value said, kind reflect.Type, expected string) *Problem {
	place, node := value.place, value.node
	if name, element := misfit(value, kind); element != nil {
		key, node, expected = key+name, element, elements[kind]
		if value.at != nil && element.Line > 0 {
			place = value.at(element.Line)
		}
	}
	return &Problem{Place: place, What: fmt.Sprintf("%s is %s, where %s is expected", key, node, expected)}
}

// misfit is the first element that would not fit by itself, and its name: an index
// from 0, or a key. It is nil where the value has none, or is of a wrong kind itself.
func misfit(value said, kind reflect.Type) (name string, element *source.Node) {
	fits := func(one any) bool {
		return decode(said{node: &source.Node{Value: one}, loose: value.loose}, reflect.New(kind).Elem()) == ""
	}
	switch of := value.node.Value.(type) {
	case []*source.Node:
		if !fits([]*source.Node{}) {
			return "", nil
		}
		for i, item := range of {
			if !fits([]*source.Node{item}) {
				return fmt.Sprintf("[%d]", i), item
			}
		}
	case []source.Member:
		if !fits([]source.Member{}) {
			return "", nil
		}
		for _, member := range of {
			if !fits([]source.Member{member}) {
				return "." + member.Key, member.Value
			}
		}
	}
	return "", nil
}
