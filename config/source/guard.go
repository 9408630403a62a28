package source

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	controls "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// mostValue is how large one value of a template may be, in bytes of text and elements
// of lists: as large as a variable of the environment is on Linux (MAX_ARG_STRLEN).
const mostValue = 128 << 10

// roundCosts is what one round of a loop counts for, in characters, besides what is in
// it: a round that puts nothing out takes its time as well.
const roundCosts = 64

// deepestValue is how deep lists may lie in lists.
const deepestValue = 50

// weigh is how much a value is; an error where it is too much. What it holds several
// times is counted as often, for that is what it is as a text.
func weigh(v *exec.Value) (int, error) { return weighed(v, 0, 0) }

func weighed(v *exec.Value, sum, depth int) (int, error) {
	var err error
	switch {
	case depth > deepestValue:
		return 0, errors.New("a value is nested too deep")
	case v == nil || v.IsError() || v.IsNil():
	case v.IsString():
		sum += len(v.String())
	case v.IsList(), v.IsDict():
		v.Iterate(func(_, _ int, key, value *exec.Value) bool {
			sum++
			if sum, err = weighed(key, sum, depth+1); err == nil && value != nil {
				sum, err = weighed(value, sum, depth+1)
			}
			return err == nil
		}, func() {})
	}
	if err == nil && sum > mostValue {
		err = errTooMuch
	}
	return sum, err
}

var errTooMuch = fmt.Errorf("a value has more than %d characters", mostValue)

// The functions that a template is made to call, which none can name.
const (
	guardsLeft  = "__understudy_left"
	guardsRight = "__understudy_right"
	guardsOut   = "__understudy_out"
	guardsLoop  = "__understudy_loop"
)

// guard bounds one filling in.
type guard struct {
	// left operands, by their operators.
	left map[int]*exec.Value
	// operators by their numbers.
	operators []tokens.Type
	// spent is how much was put out, or would be.
	spent int
}

func (g *guard) functions() map[string]any {
	one := func(check func(v *exec.Value, number int) error) func(*exec.VarArgs) (*exec.Value, error) {
		return func(params *exec.VarArgs) (*exec.Value, error) {
			v := params.Args[0]
			return v, check(v, params.Args[1].Integer())
		}
	}
	return map[string]any{
		guardsLeft: one(func(v *exec.Value, number int) error {
			g.left[number] = v
			_, err := weigh(v)
			return err
		}),
		guardsRight: one(func(v *exec.Value, number int) error {
			size, err := weigh(v)
			if err != nil {
				return err
			}
			left, _ := weigh(g.left[number])
			switch {
			case g.operators[number] != tokens.Multiply:
				size += left
			case g.left[number].IsString():
				size = min(v.Integer(), mostValue+1) * left
			}
			if size > mostValue {
				return errTooMuch
			}
			return nil
		}),
		guardsOut: one(func(v *exec.Value, _ int) error {
			size, err := weigh(v)
			if err != nil {
				return err
			}
			return g.spend(size)
		}),
		guardsLoop: one(func(v *exec.Value, body int) error {
			if _, err := weigh(v); err != nil || !v.IsIterable() {
				return err
			}
			return g.spend(v.Len() * (roundCosts + body))
		}),
	}
}

func (g *guard) spend(size int) error {
	if g.spent += size; g.spent > mostText {
		return fmt.Errorf("all that is filled in has more than %d characters", mostText)
	}
	return nil
}

// on has a template call this guard where its values grow. The library's tree is in
// fields of its own, so it is found by reflection.
func (g *guard) on(template *exec.Template) {
	g.walk(reflect.ValueOf(template.Root()), map[visit]bool{})
}

type visit struct {
	kind reflect.Type
	at   uintptr
}

// walk gives how many bytes of text there are below.
func (g *guard) walk(v reflect.Value, seen map[visit]bool) (text int) {
	switch v.Kind() {
	case reflect.Interface:
		return g.walk(v.Elem(), seen)
	case reflect.Pointer:
		at := visit{v.Type(), v.Pointer()}
		if v.IsNil() || seen[at] || strings.HasSuffix(v.Type().Elem().PkgPath(), "/tokens") {
			return 0
		}
		seen[at] = true
		text = g.walk(v.Elem(), seen)
		switch v.Type() {
		case reflect.TypeFor[*nodes.Data]():
			text += len((*nodes.Data)(v.UnsafePointer()).Data.Val)
		case reflect.TypeFor[*nodes.BinaryExpression]():
			g.operation((*nodes.BinaryExpression)(v.UnsafePointer()))
		case reflect.TypeFor[*nodes.Output]():
			output := (*nodes.Output)(v.UnsafePointer())
			output.Expression = calling(guardsOut, output.Expression, 0)
			if output.Alternative != nil {
				output.Alternative = calling(guardsOut, output.Alternative, 0)
			}
		case reflect.TypeFor[*controls.ForControlStructure]():
			loop := (*controls.ForControlStructure)(v.UnsafePointer())
			loop.ObjectEvaluator = calling(guardsLoop, loop.ObjectEvaluator, text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			text += g.walk(v.Field(i), seen)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			text += g.walk(v.Index(i), seen)
		}
	case reflect.Map:
		for entries := v.MapRange(); entries.Next(); {
			text += g.walk(entries.Value(), seen)
		}
	}
	return text
}

func (g *guard) operation(e *nodes.BinaryExpression) {
	switch e.Operator.Token.Type {
	case tokens.Addition, tokens.Multiply, tokens.Tilde:
		number := len(g.operators)
		g.operators = append(g.operators, e.Operator.Token.Type)
		e.Left, e.Right = calling(guardsLeft, e.Left, number), calling(guardsRight, e.Right, number)
	}
}

func calling(function string, e nodes.Expression, number int) nodes.Expression {
	at := e.Position()
	name := &tokens.Token{Type: tokens.Name, Val: function}
	if at != nil {
		name.Pos, name.Line, name.Col = at.Pos, at.Line, at.Col
	}
	return &nodes.Call{Location: name, Func: &nodes.Name{Name: name}, Args: []nodes.Expression{e, &nodes.Integer{Location: name, Val: number}}}
}

// guarded is a filter that neither takes nor makes what is too much.
func guarded(filter exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		values := append([]*exec.Value{in}, params.Args...)
		for _, value := range params.KwArgs {
			values = append(values, value)
		}
		for _, value := range values {
			if _, err := weigh(value); err != nil {
				return exec.AsValue(err)
			}
		}
		out := filter(e, in, params)
		if _, err := weigh(out); err != nil {
			return exec.AsValue(err)
		}
		return out
	}
}

// methods are the library's that make nothing larger than what they are given; Tera
// has none.
var methods = exec.Methods{
	Bool: exec.NewMethodSet(map[string]exec.Method[bool]{}), Int: exec.NewMethodSet(map[string]exec.Method[int]{}),
	Float: exec.NewMethodSet(map[string]exec.Method[float64]{}), List: exec.NewMethodSet(map[string]exec.Method[[]any]{}),
	Str: some(builtins.Methods.Str, "capitalize", "casefold", "count", "endswith", "find", "isalnum", "isalpha", "isdigit", "islower", "isnumeric", "isspace", "isupper", "lower", "lstrip",
		"partition", "removeprefix", "removesuffix", "rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper"),
	Dict: some(builtins.Methods.Dict, "get", "items", "keys", "values"),
}

func some[I any](of *exec.MethodSet[I], names ...string) *exec.MethodSet[I] {
	taken := map[string]exec.Method[I]{}
	for _, name := range names {
		if method, ok := of.Get(name); ok {
			taken[name] = method
		}
	}
	return exec.NewMethodSet(taken)
}
