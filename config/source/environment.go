package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// getEnv is the function of templates that looks up a variable of the
// environment: get_env(name="X", default="y").
func getEnv(lookup func(string) (string, bool)) func(*exec.Evaluator, *exec.VarArgs) (string, error) {
	return func(_ *exec.Evaluator, params *exec.VarArgs) (string, error) {
		var name, fallback *exec.Value
		var unknown []string // the other tool overlooks them
		for i, value := range params.Args {
			switch i {
			case 0:
				name = value
			case 1:
				fallback = value
			}
		}
		for key, value := range params.KwArgs {
			switch key {
			case "name":
				name = value
			case "default":
				fallback = value
			default:
				unknown = append(unknown, key)
			}
		}
		if name == nil || !name.IsString() {
			return "", errors.New(`get_env needs a name, as in get_env(name="USER", default="nobody")`)
		}
		if value, ok := lookup(name.String()); ok {
			return value, nil
		}
		if fallback != nil {
			return fallback.String(), nil
		}
		given := ""
		if len(unknown) > 0 {
			slices.Sort(unknown)
			given = ", but " + strings.Join(unknown, ", ")
		}
		return "", fmt.Errorf("the environment variable %s is not set, and get_env was given no default%s", name.String(), given)
	}
}
