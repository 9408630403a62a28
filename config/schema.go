package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/config/decision"
)

// SchemaID is where the schema is published.
const SchemaID = "https://understudy.dev/understudy.schema.json"

// Schema is the JSON Schema of a file, as it is after its templates have been
// filled in: what it allows is read, what is read it allows. What goes together
// is for Check.
func Schema() ([]byte, error) {
	root := object{}
	for _, s := range settings {
		root.add(strings.Split(s.key, "."), described(s.key, schemaOf(s.kind)))
	}
	for i := range decision.Keys {
		row := &decision.Keys[i]
		path := strings.Split(row.Name, ".")
		switch {
		case strings.HasPrefix(row.Name, "target"):
		case row.Verdict == decision.Meaningless:
			root.add(path, schemaWith(theirSchema(row.Name), schema{"description": "No meaning here: " + row.Text, "deprecated": true}))
		case row.Verdict == decision.Refused:
			root.add(path, refusedSchema(row))
		case row.Verdict == decision.Mapped:
			i := slices.IndexFunc(settings, func(s setting) bool { return s.key == row.To[0] })
			root.add(path, schemaWith(described(row.Name, schemaOf(settings[i].kind)), schema{"deprecated": true}))
		}
	}
	root["target"] = object{"": targetSchema()}
	root["$schema"] = object{"": schema{"type": "string", "description": "The schema, for editors; it is not read"}}
	whole := root.schema("")
	whole["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	whole["$id"] = SchemaID
	whole["title"] = "Understudy: what a session should do"
	text, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return append(text, '\n'), nil
}

// schema is one schema, object a section: its keys, or one schema of its own
// under the empty key.
type (
	schema = map[string]any
	object map[string]any
)

func (o object) add(path []string, leaf schema) {
	section, ok := o[path[0]].(object)
	if !ok {
		section = object{}
		o[path[0]] = section
	}
	if len(path) > 1 {
		section.add(path[1:], leaf)
		return
	}
	section[""] = leaf
}

// schema of a section, which may be written as one value where it has a
// shorthand.
func (o object) schema(key string) schema {
	if leaf, ok := o[""].(schema); ok {
		return leaf
	}
	properties := schema{}
	for name, below := range o {
		at := name
		if key != "" {
			at = key + "." + name
		}
		switch below := below.(type) {
		case object:
			properties[name] = below.schema(at)
		case schema:
			properties[name] = below
		}
	}
	kinds := []any{"object", "null"}
	if slices.Contains(Shorthands["boolean"], key) {
		kinds = append(kinds, "boolean")
	}
	of := schema{"properties": properties, "additionalProperties": false}
	if slices.Contains(Shorthands["string"], key) {
		mode := properties["mode"].(schema)["enum"].([]any)
		return schemaWith(described(key, schema{"anyOf": []any{schemaWith(of, schema{"type": kinds}), schema{"enum": mode}}}), nil)
	}
	of["type"] = kinds
	if key == "" {
		of["type"] = "object"
	}
	return described(key, of)
}

func described(key string, s schema) schema {
	if row := decision.Key(key); row != nil && row.Name == key {
		return schemaWith(s, schema{"description": upper(row.Text)})
	}
	return s
}

func schemaWith(s, more schema) schema {
	out := maps.Clone(s)
	maps.Copy(out, more)
	return out
}

func upper(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

var portSchema = schema{"anyOf": []any{schema{"type": "integer", "minimum": 1, "maximum": 65535}, schema{"type": "string", "pattern": `^\s*[0-9]{1,5}\s*$`}}}

// schemaOf is the schema of what is read into a field.
func schemaOf(kind reflect.Type) schema {
	if enum, ok := reflect.Zero(kind).Interface().(enumerated); ok {
		var values []any
		for _, value := range enum.Values() {
			values = append(values, value)
		}
		return schema{"enum": append(values, nil)}
	}
	switch kind {
	case reflect.TypeFor[string]():
		return schema{"type": []any{"string", "null"}}
	case reflect.TypeFor[bool](), reflect.TypeFor[*bool]():
		return schema{"type": []any{"boolean", "null"}}
	case reflect.TypeFor[time.Duration]():
		return schema{"anyOf": []any{
			schema{"type": "integer", "minimum": 0, "description": "seconds"},
			schema{"type": "string", "pattern": `^([0-9]+|[-+]?([0-9]*\.?[0-9]+(ns|us|µs|μs|ms|s|m|h))+)$`},
			schema{"type": "null"},
		}}
	case reflect.TypeFor[[]string]():
		return schema{"type": []any{"string", "array", "null"}, "items": schema{"type": "string"}}
	case reflect.TypeFor[map[string]string]():
		return schema{"type": []any{"object", "null"}, "additionalProperties": schema{"type": []any{"string", "number", "boolean"}}}
	case reflect.TypeFor[[]uint16]():
		return schema{"anyOf": []any{portSchema, schema{"type": "array", "items": portSchema}, schema{"type": "null"}}}
	case reflect.TypeFor[[]PortPair]():
		return schema{"type": []any{"array", "null"}, "items": schema{"type": "array", "items": portSchema, "minItems": 2, "maxItems": 2}}
	case reflect.TypeFor[corev1.ResourceList]():
		return schema{"type": []any{"object", "null"}, "additionalProperties": schema{"type": []any{"string", "number"}, "minimum": 0, "pattern": quantityPattern}}
	case reflect.TypeFor[[]corev1.Toleration]():
		return listOf(schema{
			"key": text, "value": text, "operator": schema{"enum": append(anys(tolerationOperators), nil)}, "effect": schema{"enum": append(anys(taintEffects), nil)},
			"tolerationSeconds": schema{"type": []any{"integer", "null"}},
		})
	case reflect.TypeFor[[]corev1.LocalObjectReference]():
		return listOf(schema{"name": schema{"type": "string", "minLength": 1}}, "name")
	case reflect.TypeFor[Listen]():
		one := schema{"anyOf": []any{schema{"const": "all"}, portSchema}}
		return schema{"anyOf": []any{
			schema{"type": "integer", "minimum": 1, "maximum": 65535}, schema{"type": "string", "pattern": `^\s*((all|[0-9]{1,5})\s*([,;]\s*|$))*$`},
			schema{"type": "array", "items": one}, schema{"type": "null"},
		}}
	}
	panic(fmt.Sprintf("there is no schema of a %s", kind)) // a mistake in this package
}

// refusedSchema allows what asks for nothing.
func refusedSchema(row *decision.Row) schema {
	allowed := []any{nil, []any{}}
	for _, neutral := range row.Neutral {
		var value any = neutral
		if json.Unmarshal([]byte(neutral), &value) != nil {
			value = neutral
		}
		allowed = append(allowed, value)
	}
	idle := schema{}
	for _, name := range row.Idle {
		idle[name] = true
	}
	nothing := schema{"type": "object", "properties": idle, "additionalProperties": schema{"type": "null"}}
	return schema{"description": "Not taken: " + row.Text + ". " + upper(row.Do), "anyOf": []any{schema{"enum": allowed}, nothing}}
}

// theirSchema is that of a key which has no meaning here: what the other tool takes.
func theirSchema(key string) schema {
	if row := decision.Key(key); row != nil && row.Name == key && row.Verdict == decision.Refused {
		return refusedSchema(row)
	}
	return shapesSchema(key, decision.Shapes(key))
}

func shapesSchema(key string, of []decision.Shape) schema {
	s := schema{}
	kinds := []any{"null"}
	add := func(kind string) {
		if !slices.Contains(kinds, any(kind)) {
			kinds = append(kinds, kind)
		}
	}
	var inner []decision.Shape
	for _, shape := range of {
		switch shape.Kind {
		case "any":
			return schema{}
		case "list":
			add("array")
			inner = append(inner, shape.Of...)
		case "object":
			add("object")
			inner = append(inner, shape.Of...)
		case "integer":
			s["minimum"] = shape.Least
			if shape.Most <= math.MaxUint32 {
				s["maximum"] = shape.Most
			}
			add("integer")
		default:
			add(shape.Kind)
		}
	}
	s["type"] = kinds
	below := schema{}
	for _, name := range decision.Below(key) {
		below[name] = theirSchema(key + "." + name)
	}
	if slices.Contains(kinds, any("array")) && len(inner) > 0 {
		items := shapesSchema(key+"[]", inner)
		if kinds, ok := items["type"].([]any); ok {
			items["type"] = kinds[1:] // not null
		}
		s["items"] = items
	}
	switch object := slices.Contains(kinds, any("object")); {
	case object && len(below) > 0:
		s["properties"], s["additionalProperties"] = below, false
	case object && len(inner) > 0:
		s["additionalProperties"] = shapesSchema(key+".<key>", inner)
	}
	return s
}

var text = schema{"type": []any{"string", "null"}}

// quantityPattern is that of Kubernetes, without a minus.
const quantityPattern = `^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$`

// listOf is a list of objects that have these properties and no others.
func listOf(properties schema, required ...any) schema {
	return schema{"type": []any{"array", "null"}, "items": schema{"type": "object", "properties": properties, "required": append([]any{}, required...), "additionalProperties": false}}
}

func anys[T ~string](values []T) (out []any) {
	for _, value := range values {
		out = append(out, string(value))
	}
	return out
}

// targetSchema has the many ways in which a target may be written.
func targetSchema() schema {
	of := func(section string) schema {
		properties := schema{}
		for _, kind := range append(slices.Sorted(maps.Keys(kinds)), "container") {
			if decision.Key(section+"."+kind) != nil {
				properties[kind] = described(section+"."+kind, text)
			}
		}
		properties["labels"] = described(section+".labels", schema{"enum": []any{nil}})
		return properties
	}
	// Of the kinds one is named at most.
	one := func(properties schema) schema {
		var exclusive []any
		names := slices.Sorted(maps.Keys(kinds))
		for i, a := range names {
			for _, b := range names[i+1:] {
				exclusive = append(exclusive, schema{"type": "object", "required": []any{a, b}, "properties": schema{a: schema{"type": "string"}, b: schema{"type": "string"}}})
			}
		}
		return schema{"type": []any{"object", "null"}, "properties": properties, "additionalProperties": false, "not": schema{"anyOf": exclusive}}
	}
	whole := of("target")
	whole["namespace"] = described("target.namespace", text)
	whole["path"] = described("target.path", schema{"anyOf": []any{text, one(of("target.path"))}})
	return described("target", schema{"anyOf": []any{schema{"type": "string"}, one(whole)}})
}
