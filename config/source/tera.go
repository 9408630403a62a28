package source

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// teras are filters that Tera has and Jinja has not, or not as it does.
var teras = map[string]exec.FilterFunction{
	"nth":        element("n"),
	"get":        element("key"),
	"addslashes": onString(strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace),
	"concat":     concat,
	"slice":      part,
	"pluralize":  pluralize,
	"date":       date,
}

// element is one of a list, by its number, or of an object, by its key.
func element(name string) exec.FilterFunction {
	return func(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		at := nth(params, 0, name)
		switch {
		case in.IsError():
			return in
		case at == nil:
			return exec.AsValue(fmt.Errorf("it takes %s=", name))
		case at.IsInteger() && in.IsList() && at.Integer() >= 0 && at.Integer() < in.Len():
			return in.Index(at.Integer())
		case at.IsString() && in.IsDict():
			if value, ok := in.GetItem(at.String()); ok {
				return value
			}
		}
		if fallback := nth(params, 1, "default"); fallback != nil {
			return fallback
		}
		return exec.AsValue(fmt.Errorf("there is no element %s", at.String()))
	}
}

func concat(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	with := nth(params, 0, "with")
	if in.IsError() || with == nil {
		return in
	}
	var list []any
	for _, of := range []*exec.Value{in, with} {
		if !of.IsList() {
			list = append(list, of.Interface())
			continue
		}
		for i := range of.Len() {
			list = append(list, of.Index(i).Interface())
		}
	}
	return exec.AsValue(list)
}

// part of a list, from start to before end, as Tera has it; Jinja's slice makes lists.
func part(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	start, end := params.KwArgs["start"], params.KwArgs["end"]
	if start == nil && end == nil {
		return within("slice")(e, in, params)
	}
	if in.IsError() || !in.IsList() {
		return in
	}
	from, to := 0, in.Len()
	bound := func(v *exec.Value, into *int) {
		if v == nil {
			return
		}
		if *into = v.Integer(); *into < 0 {
			*into += in.Len()
		}
		*into = max(0, min(*into, in.Len()))
	}
	bound(start, &from)
	bound(end, &to)
	list := []any{}
	for i := from; i < to; i++ {
		list = append(list, in.Index(i).Interface())
	}
	return exec.AsValue(list)
}

func pluralize(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	one, several := nth(params, 0, "singular"), nth(params, 1, "plural")
	switch {
	case in.IsError():
		return in
	case in.Float() == 1 && one == nil:
		return exec.AsValue("")
	case in.Float() == 1:
		return one
	case several == nil:
		return exec.AsValue("s")
	}
	return several
}

// date writes a time, which is a number of seconds, or a text as in 2026-01-02 or
// 2026-01-02T15:04:05Z, in the letters of strftime.
func date(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	var at time.Time
	switch text := in.String(); {
	case in.IsInteger():
		at = time.Unix(int64(in.Integer()), 0).UTC()
	default:
		var err error
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
			if at, err = time.Parse(layout, text); err == nil {
				break
			}
		}
		if err != nil {
			return exec.AsValue(fmt.Errorf("%q is no time", text))
		}
	}
	format := "%Y-%m-%d"
	if given := nth(params, 0, "format"); given != nil {
		format = given.String()
	}
	var wrong error
	written := letter.ReplaceAllStringFunc(format, func(of string) string {
		switch layout, known := letters[of[1]]; {
		case known:
			return at.Format(layout)
		case of == "%%":
			return "%"
		case of == "%s":
			return strconv.FormatInt(at.Unix(), 10)
		case of == "%j":
			return fmt.Sprintf("%03d", at.YearDay())
		}
		wrong = fmt.Errorf("date knows no %s", of)
		return ""
	})
	if wrong != nil {
		return exec.AsValue(wrong)
	}
	return exec.AsValue(written)
}

var letter = regexp.MustCompile(`%.`)

var letters = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'b': "Jan", 'B': "January",
	'a': "Mon", 'A': "Monday", 'Z': "MST", 'z': "-0700", 'F': time.DateOnly, 'T': time.TimeOnly, 'D': "01/02/06", 'R': "15:04",
}

// jinjasTests are the library's tests, terasTests those that Tera has beside.
var jinjasTests = strings.Fields(`boolean callable defined divisibleby eq equalto == escaped even false filter float ge >= gt greaterthan > in integer iterable
	le <= lower lt lessthan < mapping ne != none number odd sameas sequence string test true undefined upper`)

var terasTests = map[string]exec.TestFunction{
	"starting_with": onText(strings.HasPrefix),
	"ending_with":   onText(strings.HasSuffix),
	"containing": func(_ *exec.Context, in *exec.Value, params *exec.VarArgs) (bool, error) {
		of, err := only(in, params)
		return err == nil && in.Contains(of), err
	},
	"matching": func(_ *exec.Context, in *exec.Value, params *exec.VarArgs) (bool, error) {
		of, err := only(in, params)
		if err != nil {
			return false, err
		}
		expression, err := regexp.Compile(of.String())
		if err != nil {
			return false, fmt.Errorf("%q is no regular expression", of.String())
		}
		return expression.MatchString(in.String()), nil
	},
	"object": func(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) { return in.IsDict(), nil },
}

var tests = func() *exec.TestSet {
	all := map[string]exec.TestFunction{}
	for _, name := range jinjasTests {
		if test, ok := builtins.Tests.Get(name); ok {
			all[name] = test
		}
	}
	for name, test := range terasTests {
		all[name] = test
	}
	return exec.NewTestSet(all)
}()

func onText(test func(text, of string) bool) exec.TestFunction {
	return func(_ *exec.Context, in *exec.Value, params *exec.VarArgs) (bool, error) {
		of, err := only(in, params)
		return err == nil && test(in.String(), of.String()), err
	}
}

// only is a test's one argument.
func only(in *exec.Value, params *exec.VarArgs) (*exec.Value, error) {
	switch {
	case in.IsError():
		return nil, errors.New(in.Error())
	case len(params.Args) != 1:
		return nil, errors.New("it takes one value in parentheses")
	}
	return params.Args[0], nil
}

// functions are what a template may call beside get_env.
func functions(clock func() time.Time) map[string]any {
	return map[string]any{
		"now": func(params *exec.VarArgs) (*exec.Value, error) {
			at := clock()
			if utc := nth(params, 1, "utc"); utc != nil && utc.IsTrue() {
				at = at.UTC()
			}
			if stamp := nth(params, 0, "timestamp"); stamp != nil && stamp.IsTrue() {
				return exec.AsValue(int(at.Unix())), nil
			}
			return exec.AsValue(at.Format(time.RFC3339)), nil
		},
		"range": func(params *exec.VarArgs) (*exec.Value, error) {
			number := func(name string, usual int) int {
				if v := params.KwArgs[name]; v != nil {
					return v.Integer()
				}
				return usual
			}
			from, to, step := number("start", 0), number("end", 0), number("step_by", 1)
			if params.KwArgs["end"] == nil && len(params.Args) == 1 {
				to = params.Args[0].Integer()
			}
			if step < 1 || to > from && (to-from)/step > mostValue {
				return nil, errTooMuch
			}
			list := []int{}
			for i := from; i < to; i += step {
				list = append(list, i)
			}
			return exec.AsValue(list), nil
		},
		"throw": func(params *exec.VarArgs) (*exec.Value, error) {
			if message := nth(params, 0, "message"); message != nil {
				return nil, errors.New(strings.ReplaceAll(message.String(), ": ", ", "))
			}
			return nil, errors.New("it is thrown")
		},
	}
}
