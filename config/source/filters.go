package source

import (
	"maps"
	"regexp"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// filters are Jinja's, which also take their arguments by the names that Tera
// has for them, and those that Tera has beside.
var filters = func() *exec.FilterSet {
	guards := map[string]exec.FilterFunction{}
	for _, name := range jinjas {
		if filter, ok := builtins.Filters.Get(name); ok {
			guards[name] = guarded(filter)
		}
	}
	for _, set := range []map[string]exec.FilterFunction{own, teras} {
		for name, filter := range set {
			guards[name] = guarded(filter)
		}
	}
	return exec.NewFilterSet(guards)
}()

// jinjas are the library's filters.
var jinjas = strings.Fields(`abs attr batch capitalize center default d dictsort e escape filesizeformat first float forceescape format groupby indent int
	join items last length count list lower map max min pprint random rejectattr reject replace reverse round safe selectattr select slice sort string
	striptags sum title tojson trim truncate unique upper urlencode urlize wordcount wordwrap xmlattr`)

// own are those that are not the library's, or not as it has them.
var own = map[string]exec.FilterFunction{
	"default":            named("default", "value"),
	"replace":            replacing(named("replace", "from", "to")),
	"join":               joining(named("join", "sep")),
	"format":             format,
	"batch":              within("batch"),
	"round":              within("round"),
	"center":             within("center"),
	"indent":             within("indent"),
	"tojson":             within("tojson"),
	"json_encode":        within("tojson"),
	"as_str":             named("string"),
	"slugify":            onString(slugify),
	"trim_start":         onString(func(s string) string { return strings.TrimLeft(s, " \t\r\n") }),
	"trim_end":           onString(func(s string) string { return strings.TrimRight(s, " \t\r\n") }),
	"trim_start_matches": onStringWith("pat", strings.TrimPrefix),
	"trim_end_matches":   onStringWith("pat", strings.TrimSuffix),
	"split":              split,
}

// named is one of Jinja's filters, whose positional arguments may be given by
// names, in their order.
func named(filter string, names ...string) exec.FilterFunction {
	original, _ := builtins.Filters.Get(filter)
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		positional := exec.NewVarArgs()
		positional.Args = append(positional.Args, params.Args...)
		maps.Copy(positional.KwArgs, params.KwArgs)
		for _, name := range names {
			if value, ok := positional.KwArgs[name]; ok {
				positional.Args = append(positional.Args, value)
				delete(positional.KwArgs, name)
			}
		}
		return original(e, in, positional)
	}
}

func onString(change func(string) string) exec.FilterFunction {
	return func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		if in.IsError() {
			return in
		}
		return exec.AsValue(change(in.String()))
	}
}

func argument(name string, params *exec.VarArgs) string {
	if value, ok := params.KwArgs[name]; ok {
		return value.String()
	}
	if len(params.Args) > 0 {
		return params.Args[0].String()
	}
	return ""
}

func onStringWith(name string, change func(s, argument string) string) exec.FilterFunction {
	return func(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if in.IsError() {
			return in
		}
		return exec.AsValue(change(in.String(), argument(name, params)))
	}
}

func split(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	return exec.AsValue(strings.Split(in.String(), argument("pat", params)))
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

func slugify(s string) string {
	return strings.Trim(unfit.ReplaceAllString(strings.ToLower(s), "-"), "-")
}
