package source

import (
	"fmt"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
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
