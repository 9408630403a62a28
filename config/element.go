package config

import (
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/config/decision"
	"understudy.dev/understudy/config/source"
)

// elements are what is expected of each element of a value that has several.
var elements = map[reflect.Type]string{
	reflect.TypeFor[[]string]():          "a string",
	reflect.TypeFor[map[string]string](): "a string",
	reflect.TypeFor[[]uint16]():          "a port from 1 to 65535",
	reflect.TypeFor[[]PortPair]():        "a pair of ports, as in [8080, 80],",
	reflect.TypeFor[Listen]():            "a port from 1 to 65535, or all,",

	reflect.TypeFor[corev1.ResourceList]():           "a quantity, as in 100m or 64Mi,",
	reflect.TypeFor[[]corev1.Toleration]():           "a toleration of no more than key, operator (Exists or Equal), value, effect (NoSchedule, PreferNoSchedule or NoExecute) and tolerationSeconds",
	reflect.TypeFor[[]corev1.LocalObjectReference](): "an object with a name",
}

// mistyped is what to say of a value that does not fit its field: of every element
// that does not where it has elements, else of the value.
func mistyped(key string, value said, kind reflect.Type, expected string) (found []*Problem) {
	say := func(key string, node *source.Node, place, expected string) {
		advice := ""
		if text, ok := node.Value.(string); ok {
			advice = meant(text, kind)
		}
		found = append(found, &Problem{Place: place, Advice: advice, What: fmt.Sprintf("%s is %s, where %s is expected", key, node, expected)})
	}
	for _, wrong := range misfits(value, kind) {
		place := value.place
		if value.at != nil && wrong.node.Line > 0 {
			place = value.at(wrong.node.Line)
		}
		say(key+wrong.name, wrong.node, place, elements[kind])
	}
	if len(found) == 0 {
		say(key, value.node, value.place, expected)
	}
	return found
}

// meant asks for the one of a few values that a text is like; it is empty where
// there is none.
func meant(text string, kind reflect.Type) string {
	enum, ok := reflect.Zero(kind).Interface().(enumerated)
	if !ok {
		return ""
	}
	best, least := "", 1+max(1, len(text)/3)
	for _, value := range enum.Values() {
		if d := decision.Distance(strings.ToLower(text), value); d < least {
			best, least = value, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// element is one of a value's, by its name in it: an index from 0, or a key.
type element struct {
	name string
	node *source.Node
}

// misfits are the elements that would not fit by themselves. There are none where
// the value has none, or is of a wrong kind itself.
func misfits(value said, kind reflect.Type) (wrong []element) {
	fits := func(one any) bool {
		return decode(said{node: &source.Node{Value: one}, loose: value.loose}, reflect.New(kind).Elem()) == ""
	}
	switch of := value.node.Value.(type) {
	case []*source.Node:
		for i, item := range of {
			if fits([]*source.Node{}) && !fits([]*source.Node{item}) {
				wrong = append(wrong, element{fmt.Sprintf("[%d]", i), item})
			}
		}
	case []source.Member:
		for _, member := range of {
			if fits([]source.Member{}) && !fits([]source.Member{member}) {
				wrong = append(wrong, element{"." + member.Key, member.Value})
			}
		}
	}
	return wrong
}
