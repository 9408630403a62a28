package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// Setting is one key of a file, and what it says.
type Setting struct {
	Key   string
	Value any
}

// Settings are those of a file that says the same as a Config: all, or only what
// differs from what holds where nobody says anything.
func (c *Config) Settings(everything bool) []Setting {
	var list []Setting
	mine, usual := reflect.ValueOf(form{Config: *c}), reflect.ValueOf(defaults())
	for _, s := range settings {
		if len(s.index) == 1 { // of form alone: it is in the takeover
			continue
		}
		value := mine.FieldByIndex(s.index)
		key := s.key
		if key == "takeover" && c.Paused {
			key, value = "pause", reflect.ValueOf(true)
		}
		empty := value.IsZero() && value.Kind() != reflect.Bool
		if empty || !everything && reflect.DeepEqual(value.Interface(), usual.FieldByIndex(s.index).Interface()) {
			continue
		}
		list = append(list, Setting{key, shown(value.Interface())})
	}
	return list
}

// Show writes a Config as a file that says the same, in YAML: everything, or
// only what differs from what holds where nobody says anything.
func (c *Config) Show(everything bool) ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, setting := range c.Settings(everything) {
		if err := put(root, strings.Split(setting.Key, "."), setting.Value); err != nil {
			return nil, fmt.Errorf("showing %s: %w", setting.Key, err)
		}
	}
	if len(root.Content) == 0 {
		return nil, nil
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return nil, fmt.Errorf("showing the configuration: %w", err)
	}
	return out.Bytes(), nil
}

// shown is a value as a file would say it.
func shown(value any) any {
	switch value := value.(type) {
	case time.Duration:
		return value.String()
	case corev1.ResourceList:
		texts := map[string]string{}
		for name, quantity := range value {
			texts[string(name)] = quantity.String()
		}
		return texts
	case []corev1.Toleration, []corev1.LocalObjectReference:
		return plainly(value)
	case Listen:
		var list []any
		if value.All {
			list = append(list, "all")
		}
		for _, port := range value.Ports {
			list = append(list, port)
		}
		return list
	}
	if of := reflect.ValueOf(value); of.Kind() == reflect.String { // one of a few words
		return of.String()
	}
	return value
}

// put adds a value below a mapping, with the sections on the way.
func put(at *yaml.Node, path []string, value any) error {
	for i := 0; i+1 < len(at.Content); i += 2 {
		if at.Content[i].Value == path[0] {
			return put(at.Content[i+1], path[1:], value)
		}
	}
	name := &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}
	if len(path) > 1 {
		section := &yaml.Node{Kind: yaml.MappingNode}
		at.Content = append(at.Content, name, section)
		return put(section, path[1:], value)
	}
	content := &yaml.Node{}
	if err := content.Encode(value); err != nil {
		return err
	}
	if content.Kind == yaml.SequenceNode {
		content.Style = yaml.FlowStyle
	}
	at.Content = append(at.Content, name, content)
	return nil
}
