package source

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	controls "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
)

// structures are the library's, but for those by which a template takes from another
// one or from itself: a stack that overflows is nothing that can be recovered from.
var structures = func() *exec.ControlStructureSet {
	taken := map[string]parser.ControlStructureParser{}
	for _, name := range []string{"autoescape", "filter", "for", "if", "raw", "set", "with", "do", "break", "continue", "trans"} {
		if parse, ok := builtins.ControlStructures.Get(name); ok {
			taken[name] = parse
		}
	}
	parseLoop := taken["for"]
	taken["for"] = func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		made, err := parseLoop(p, args)
		if loop, ok := made.(*controls.ForControlStructure); ok && loop.Recursive {
			return nil, errors.New("a loop cannot call itself")
		}
		return made, err
	}
	return exec.NewControlStructureSet(taken)
}()

// refused says why a statement is not taken; empty where it is.
func refused(word string) string {
	switch word {
	case "include", "import", "from", "extends":
		return "a template takes nothing from other files"
	case "macro", "call", "block":
		return word + " is not taken: a template cannot call itself"
	}
	return ""
}

// widest that a filter makes a text.
const widest = 1000

// within is one of Jinja's filters whose numbers are widths, which are bounded.
func within(filter string) exec.FilterFunction {
	original, _ := builtins.Filters.Get(filter)
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		wide := func(v *exec.Value) bool { return v.IsNumber() && (v.Float() > widest || v.Float() < -widest) }
		for _, value := range params.Args {
			if wide(value) {
				return exec.AsValue(fmt.Errorf("%s makes nothing wider than %d", filter, widest))
			}
		}
		for _, value := range params.KwArgs {
			if wide(value) {
				return exec.AsValue(fmt.Errorf("%s makes nothing wider than %d", filter, widest))
			}
		}
		return original(e, in, params)
	}
}

// wide is a number in a format that makes a text wider than it may be.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4,}|\*)`)

// format is Jinja's, with widths that are bounded.
func format(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if wide.MatchString(in.String()) {
		return exec.AsValue(fmt.Errorf("format makes nothing wider than %d", widest))
	}
	original, _ := builtins.Filters.Get("format")
	return original(e, in, params)
}

// replacing is a filter that replaces, and does not where that makes too much.
func replacing(filter exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		from, to := nth(params, 0, "from", "old"), nth(params, 1, "to", "new")
		if from != nil && to != nil && !in.IsError() {
			text := in.String()
			if len(text)+strings.Count(text, from.String())*len(to.String()) > mostValue {
				return exec.AsValue(errTooMuch)
			}
		}
		return filter(e, in, params)
	}
}

// joining is a filter that joins, and does not where that makes too much.
func joining(filter exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if between := nth(params, 0, "sep", "d"); between != nil && in.IsIterable() {
			if size, err := weigh(in); err != nil || size+in.Len()*len(between.String()) > mostValue {
				return exec.AsValue(errTooMuch)
			}
		}
		return filter(e, in, params)
	}
}

// nth argument, which may have one of some names.
func nth(params *exec.VarArgs, i int, names ...string) *exec.Value {
	for _, name := range names {
		if value, ok := params.KwArgs[name]; ok {
			return value
		}
	}
	if i < len(params.Args) {
		return params.Args[i]
	}
	return nil
}
