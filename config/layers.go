package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"understudy.dev/understudy/config/decision"
	"understudy.dev/understudy/config/source"
)

// variableOf is the variable that stands for a flag.
func variableOf(flag string) string {
	return EnvironmentPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// readEnvironment is what the environment says under the keys of form: first
// the other tool's variables, then understudy's own over them.
func (l *loading) readEnvironment() map[string]any {
	says := map[string]any{}
	for i := range decision.Variables {
		if row := &decision.Variables[i]; row.Name != "MIRRORD_CONFIG_FILE" {
			l.readVariable(says, row.Name, row)
		}
	}
	for i := range decision.Flags {
		if row := &decision.Flags[i]; row.Name != keyFile && row.Verdict != decision.Meaningless {
			l.readVariable(says, variableOf(row.Name), row)
		}
	}
	for i := range decision.OwnVariables {
		row := &decision.OwnVariables[i]
		l.readVariable(says, row.Name, row)
	}
	l.strangers()
	return says
}

func (l *loading) readVariable(says map[string]any, name string, row *decision.Row) {
	text, _ := l.environ(name)
	if text == "" || row.Quiet(text) {
		return
	}
	switch row.Verdict {
	case decision.Refused:
		l.problems = append(l.problems, &Problem{Place: name, What: fmt.Sprintf("%s is not taken: %s", row.To[0], row.Text), Advice: row.Do})
		return
	case decision.Meaningless:
		if strings.HasPrefix(name, "MIRRORD_") { // others are not meant for us
			l.notices = append(l.notices, fmt.Sprintf("%s has no meaning here: %s", name, row.Text))
		}
		return
	}
	value := said{node: &source.Node{Value: text}, place: name, loose: true}
	if row.Value != "" {
		on, ok := boolean(value)
		if !ok {
			l.problems = append(l.problems, &Problem{Place: name, What: fmt.Sprintf("it is %q, where true or false is expected", text)})
			return
		}
		to := row.Switched(on)
		if to == "" {
			return
		}
		value.node = &source.Node{Value: to}
	}
	for _, key := range row.To {
		key = final(key)
		says[key] = value
		l.layers[key] = max(l.layers[key], inEnvironment)
	}
}

// final is the key of form that a key is mapped to.
func final(key string) string {
	if row := decision.Key(key); row != nil && row.Verdict == decision.Mapped {
		return row.To[0]
	}
	return key
}

// bindFlags gives viper the flags: for each key those that speak of it.
func (l *loading) bindFlags() {
	bound := map[string]*spoken{}
	for i := range decision.Flags {
		row := &decision.Flags[i]
		flag := l.lookup(row.Name)
		if flag == nil || row.Name == keyFile {
			continue
		}
		if row.Verdict == decision.Meaningless {
			if flag.Changed && !row.Quiet(flag.Value.String()) {
				l.notices = append(l.notices, fmt.Sprintf("--%s has no meaning here: %s", row.Name, row.Text))
			}
			continue
		}
		for _, key := range row.To {
			if bound[key] == nil {
				bound[key] = &spoken{}
			}
			bound[key].flags = append(bound[key].flags, flag)
			bound[key].rows = append(bound[key].rows, row)
		}
	}
	for key, spoken := range bound {
		if !spoken.HasChanged() {
			continue // a flag's default is not what somebody said
		}
		l.layers[key] = inFlags
		_ = l.viper.BindFlagValue(key, spoken) // it fails for no flag only
	}
}

func (l *loading) flagOf(key string) string {
	for _, row := range decision.Flags {
		if flag := l.lookup(row.Name); flag != nil && flag.Changed && slices.Contains(row.To, key) {
			return row.Name
		}
	}
	return key
}

// spoken are the flags that speak of one key; it is viper's FlagValue.
type spoken struct {
	flags []*pflag.Flag
	rows  []*decision.Row
}

// said is the flag that counts: of those that say something, the first that
// speaks of the fewest keys.
func (s *spoken) said() int {
	said := -1
	for i, flag := range s.flags {
		row := s.rows[i]
		if !flag.Changed || row.Value != "" && row.Switched(flag.Value.String() == "true") == "" {
			continue
		}
		if said < 0 || len(row.To) < len(s.rows[said].To) {
			said = i
		}
	}
	return said
}

// HasChanged says whether one was given.
func (s *spoken) HasChanged() bool { return s.said() >= 0 }

// Name is that one's.
func (s *spoken) Name() string { return s.flags[max(s.said(), 0)].Name }

// ValueType has viper leave the text as it is.
func (s *spoken) ValueType() string { return "string" }

// ValueString is what the key is set to.
func (s *spoken) ValueString() string {
	i := max(s.said(), 0)
	if row := s.rows[i]; row.Value != "" {
		return row.Switched(s.flags[i].Value.String() == "true")
	}
	if list, ok := s.flags[i].Value.(pflag.SliceValue); ok {
		return strings.Join(list.GetSlice(), ",")
	}
	return s.flags[i].Value.String()
}
