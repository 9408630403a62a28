package decision

import (
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
)

// theirKeys are all keys that the other tool's versions 3.101 and 3.250 know, with
// the types that each has for them.
//
//go:embed keys.tsv
var theirKeys string

// Shape is one form that the other tool takes of a value. Of what has no meaning
// here it is all that is known.
type Shape struct {
	// Kind is "boolean", "integer", "string", "list" or "object"; "any" for one that
	// is not known more closely.
	Kind string
	// Least and Most of an integer.
	Least, Most int64
	// Values are the only strings; nil for any.
	Values []string
	// Of are the forms of a list's elements; or of an object's values where its keys
	// are a person's own; nil where they have names of their own.
	Of []Shape
}

// Shapes are the forms that the other tool takes of a key; none where it does not
// know the key. Names of map entries and list items are written as for Key.
func Shapes(key string) []Shape { return shapes()[key] }

// Below are the names of the keys below a section that the other tool has, sorted.
func Below(section string) (names []string) {
	for key := range shapes() {
		if above, name := split(key); above == section && !strings.HasSuffix(name, "[]") && name != "<key>" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

var shapes = sync.OnceValue(func() map[string][]Shape {
	of := map[string][]Shape{}
	lines := strings.Split(strings.TrimSpace(theirKeys), "\n")
	for _, line := range lines[1:] {
		cells := strings.Split(line, "\t")
		for _, text := range cells[1:] {
			of[cells[0]] = append(of[cells[0]], shapesOf(text)...)
		}
	}
	return of
})

// shapesOf reads a type as the list has it: alternatives with "|" between them, and
// what holds for all of them behind the last.
func shapesOf(text string) (of []Shape) {
	var bits, values string
	for _, alternative := range alternatives(text) {
		name, inner := alternative, ""
		if at := strings.IndexAny(alternative, "<([ "); at >= 0 {
			name, inner = alternative[:at], strings.Trim(alternative[at:], "<>()[] ")
		}
		switch name {
		case "-":
		case "null":
			if strings.HasPrefix(inner, "map ") {
				values = strings.TrimPrefix(inner, "map ")
			} else {
				bits = inner
			}
		case "boolean", "string":
			of = append(of, Shape{Kind: name})
		case "integer":
			bits = inner
			of = append(of, Shape{Kind: name})
		case "enum", "const":
			of = append(of, Shape{Kind: "string", Values: strings.Split(strings.ReplaceAll(inner, `"`, ""), ", ")})
		case "array":
			if strings.HasPrefix(inner, "enum[") && !strings.HasSuffix(inner, "]") {
				inner += "]"
			}
			of = append(of, Shape{Kind: "list", Of: shapesOf(inner)})
		case "object":
			shape := Shape{Kind: name}
			if inner != "" {
				shape.Of = shapesOf(strings.TrimPrefix(inner, "map "))
			}
			of = append(of, shape)
		default: // a type that the list names and does not show
			of = append(of, Shape{Kind: "any"})
		}
	}
	for i := range of {
		switch {
		case of[i].Kind == "integer":
			of[i].Least, of[i].Most = bounds(bits)
		case of[i].Kind == "object" && values != "":
			of[i].Of = shapesOf(values)
		}
	}
	return of
}

// bounds of an integer type; the largest is as large as one that is read can be.
func bounds(bits string) (least, most int64) {
	switch bits {
	case "uint16":
		return 0, math.MaxUint16
	case "uint32":
		return 0, math.MaxUint32
	case "int32":
		return math.MinInt32, math.MaxInt32
	case "int64":
		return math.MinInt64, math.MaxInt64
	}
	return 0, math.MaxInt64
}

// alternatives cuts at each "|" that is in no bracket.
func alternatives(text string) (parts []string) {
	depth, from := 0, 0
	for i, r := range text {
		switch r {
		case '<', '[', '(':
			depth++
		case '>', ']', ')':
			depth--
		case '|':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(text[from:i]))
				from = i + 1
			}
		}
	}
	return append(parts, strings.TrimSpace(text[from:]))
}

// Expected is what a person has to write of some forms.
func Expected(of []Shape) string {
	var words []string
	anyText := slices.ContainsFunc(of, func(shape Shape) bool { return shape.Kind == "string" && shape.Values == nil })
	for _, shape := range of {
		word := map[string]string{
			"boolean": "true or false", "string": "a string", "object": "an object", "list": "a list",
		}[shape.Kind]
		switch {
		case shape.Kind == "list" && len(shape.Of) > 0 && shape.Of[0].Kind != "any":
			word += " of " + shape.Of[0].Kind + "s"
		case shape.Kind == "string" && !anyText:
			word = "one of " + strings.Join(shape.Values, ", ")
		case shape.Kind == "integer" && shape.Most <= math.MaxUint32:
			word = fmt.Sprintf("a whole number from %d to %d", shape.Least, shape.Most)
		case shape.Kind == "integer":
			word = "a whole number"
			if shape.Least == 0 {
				word += " from 0"
			}
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
