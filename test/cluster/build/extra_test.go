package build

import (
	"strings"
	"testing"
)

const triggers = `package scaling

func buildScaler() {
	// TRIGGERS-START
	switch triggerType {
	case "a":
		return A(config)
	case "b":
		return B(config)
	default:
		return nil
	}
	// TRIGGERS-END
}
`

func TestOnlyTriggers(t *testing.T) {
	for name, gone := range map[string]string{"a": "\tcase \"b\":\n\t\treturn B(config)\n", "b": "\tcase \"a\":\n\t\treturn A(config)\n"} {
		got, err := onlyTriggers(triggers, []string{name})
		if want := strings.Replace(triggers, gone, "", 1); err != nil || got != want {
			t.Errorf("only %s (%v):\n%s", name, err, got)
		}
	}
	if _, err := onlyTriggers(triggers, []string{"c"}); err == nil {
		t.Error("a trigger that is not there goes unnoticed")
	}
	if _, err := onlyTriggers(strings.Replace(triggers, "TRIGGERS-END", "", 1), []string{"a"}); err == nil {
		t.Error("a switch that is not marked goes unnoticed")
	}
	if _, err := onlyTriggers(strings.Replace(triggers, "default:", "", 1), []string{"a"}); err == nil {
		t.Error("a switch with no default goes unnoticed")
	}
}
