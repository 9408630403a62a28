package config

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/config/source"
)

// setting is one value that can be said: its key, and the field of a form that
// it goes to.
type setting struct {
	key   string
	index []int
	kind  reflect.Type
}

// settings are all that there are, in the order of the fields.
var settings = settingsOf(reflect.TypeFor[form](), "", nil)

func settingsOf(of reflect.Type, section string, index []int) []setting {
	var list []setting
	for i := range of.NumField() {
		field := of.Field(i)
		key := field.Tag.Get("key")
		if key == "-" {
			continue
		}
		if section != "" && key != "" {
			key = section + "." + key
		}
		at := append(slices.Clone(index), i)
		if field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[Listen]() {
			list = append(list, settingsOf(field.Type, key, at)...)
			continue
		}
		list = append(list, setting{key: key, index: at, kind: field.Type})
	}
	return list
}

// Lists are the keys whose value is a list of strings, or several joined with ";".
func Lists() (keys []string) {
	for _, s := range settings {
		if s.kind == reflect.TypeFor[[]string]() {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// enumerated is a type with a few values.
type enumerated interface{ Values() []string }

// decode puts what was said into a field. Where it cannot be put there, it says
// what is expected.
func decode(s said, field reflect.Value) (expected string) {
	value := s.node.Value
	text, isText := value.(string)
	if enum, ok := field.Interface().(enumerated); ok {
		if !isText || !slices.Contains(enum.Values(), text) {
			return "one of " + strings.Join(enum.Values(), ", ")
		}
		field.SetString(text)
		return ""
	}
	switch to := field.Addr().Interface().(type) {
	case *string:
		if !isText {
			return "a string"
		}
		*to = text
	case *bool:
		on, ok := boolean(s)
		if !ok {
			return "true or false"
		}
		*to = on
	case **bool:
		on, ok := boolean(s)
		if !ok {
			return "true or false"
		}
		*to = &on
	case *time.Duration:
		d, ok := duration(value)
		if !ok {
			return aTime
		}
		*to = d
	case *[]string:
		list, ok := stringList(value)
		if !ok {
			return "a string or a list of strings"
		}
		*to = list
	case *map[string]string:
		m, ok := stringMap(value)
		if !ok {
			return "an object of strings"
		}
		*to = m
	case *[]uint16:
		ports, ok := portList(s)
		if !ok {
			return "a list of ports from 1 to 65535"
		}
		*to = ports
	case *[]PortPair:
		pairs, ok := portPairs(value)
		if !ok {
			return "a list of pairs of ports, as in [[8080, 80]]"
		}
		*to = pairs
	case *corev1.ResourceList:
		list, ok := resourceList(value)
		if !ok {
			return "an object of quantities"
		}
		*to = list
	case *[]corev1.Toleration:
		list, ok := tolerations(value)
		if !ok {
			return "a list of tolerations"
		}
		*to = list
	case *[]corev1.LocalObjectReference:
		list, ok := references(value)
		if !ok {
			return "a list of objects, each with a name"
		}
		*to = list
	case *Listen:
		listen, ok := listenOf(value)
		if !ok {
			return "ports from 1 to 65535, or all"
		}
		*to = listen
	default:
		panic(fmt.Sprintf("no value is read into a %T", to)) // a mistake in this package
	}
	return ""
}

// aTime is what is expected of a duration.
const aTime = "a time, as in 60s or 5m, or a number of seconds"

func boolean(s said) (on, ok bool) {
	switch value := s.node.Value.(type) {
	case bool:
		return value, true
	case string:
		if s.loose {
			switch strings.ToLower(value) {
			case "true", "1", "yes", "on":
				return true, true
			case "false", "0", "no", "off":
				return false, true
			}
		}
	}
	return false, false
}

func duration(value any) (time.Duration, bool) {
	switch value := value.(type) {
	case int64:
		return time.Duration(value) * time.Second, value >= 0 && value < math.MaxInt64/int64(time.Second)
	case string:
		if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
			return time.Duration(seconds) * time.Second, true
		}
		d, err := time.ParseDuration(value)
		return d, err == nil
	}
	return 0, false
}

// stringList reads one string, several joined with ";", or a list.
func stringList(value any) ([]string, bool) {
	switch value := value.(type) {
	case string:
		var list []string
		for part := range strings.SplitSeq(value, ";") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, true
	case []*source.Node:
		var list []string
		for _, item := range value {
			text, ok := item.Value.(string)
			if !ok {
				return nil, false
			}
			list = append(list, text)
		}
		return list, true
	}
	return nil, false
}

// stringMap reads an object. A number or a boolean is taken as it is written,
// as environments have nothing but strings.
func stringMap(value any) (map[string]string, bool) {
	members, ok := value.([]source.Member)
	if !ok {
		return nil, false
	}
	m := map[string]string{}
	for _, member := range members {
		switch value := member.Value.Value.(type) {
		case string:
			m[member.Key] = value
		case int64, float64, bool:
			m[member.Key] = cmp.Or(member.Value.Text, fmt.Sprint(value))
		default:
			return nil, false
		}
	}
	return m, true
}

func port(value any) (uint16, bool) {
	switch value := value.(type) {
	case int64:
		return uint16(value), value > 0 && value <= math.MaxUint16
	case string:
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16)
		return uint16(n), err == nil && n > 0
	}
	return 0, false
}

func portList(s said) ([]uint16, bool) {
	items, isList := s.node.Value.([]*source.Node)
	if !isList {
		one, ok := port(s.node.Value)
		return []uint16{one}, ok
	}
	var ports []uint16
	for _, item := range items {
		one, ok := port(item.Value)
		if !ok {
			return nil, false
		}
		ports = append(ports, one)
	}
	return ports, true
}

func portPairs(value any) ([]PortPair, bool) {
	items, ok := value.([]*source.Node)
	if !ok {
		return nil, false
	}
	var pairs []PortPair
	for _, item := range items {
		pair, ok := item.Value.([]*source.Node)
		if !ok || len(pair) != 2 {
			return nil, false
		}
		a, okA := port(pair[0].Value)
		b, okB := port(pair[1].Value)
		if !okA || !okB {
			return nil, false
		}
		pairs = append(pairs, PortPair{a, b})
	}
	return pairs, true
}

// listenOf reads ports and the word all.
func listenOf(value any) (Listen, bool) {
	var l Listen
	items := []*source.Node{{Value: value}}
	switch value := value.(type) {
	case []*source.Node:
		items = value
	case string:
		items = nil
		for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == ';' }) {
			if part = strings.TrimSpace(part); part != "" {
				items = append(items, &source.Node{Value: part})
			}
		}
	}
	for _, item := range items {
		if item.Value == "all" {
			l.All = true
			continue
		}
		p, ok := port(item.Value)
		if !ok {
			return Listen{}, false
		}
		if !slices.Contains(l.Ports, int32(p)) {
			l.Ports = append(l.Ports, int32(p))
		}
	}
	return l, true
}

// sorted are the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
