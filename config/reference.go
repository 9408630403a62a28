package config

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/config/decision"
)

// Reference is the page of the documentation that has every key, variable and
// flag, as Markdown.
func Reference() []byte {
	var page bytes.Buffer
	say := func(format string, args ...any) { fmt.Fprintf(&page, format, args...) }
	say("%s", referenceHead)
	usual := reflect.ValueOf(defaults())
	for _, row := range decision.Keys {
		if row.Verdict != decision.Supported {
			continue
		}
		kind, value := "section", ""
		if i := slices.IndexFunc(settings, func(s setting) bool { return s.key == row.Name }); i >= 0 {
			kind = kindOf(settings[i].kind)
			value = shownDefault(usual.FieldByIndex(settings[i].index))
		} else if row.Name == "$schema" {
			kind = "string"
		}
		say("| `%s` | %s | %s | %s |\n", row.Name, kind, value, cell(upper(row.Text)))
	}
	say("\n%s", referenceFlags)
	for _, row := range decision.Flags {
		if row.Verdict != decision.Supported {
			continue
		}
		flag := "`--" + row.Name + "`"
		if row.Short != "" {
			flag = "`-" + row.Short + "`, " + flag
		}
		say("| %s | `%s` | %s |\n", flag, variableOf(row.Name), says(row))
	}
	for _, row := range decision.OwnVariables {
		say("| | `%s` | %s |\n", row.Name, says(row))
	}
	say("\n%s", referenceDecisions)
	for _, row := range decision.Keys {
		if !row.Own {
			say("| `%s` | %s | %s |\n", row.Name, row.Verdict, verdict(row))
		}
	}
	say("\n## mirrord's variables\n\n| variable | here | |\n|---|---|---|\n")
	for _, row := range decision.Variables {
		say("| `%s` | %s | %s |\n", row.Name, row.Verdict, verdict(row))
	}
	say("\n## mirrord's flags\n\n| flag of exec | here | |\n|---|---|---|\n")
	for _, row := range decision.Flags {
		if row.Own {
			continue
		}
		flag := "`--" + row.Name + "`"
		if row.Short != "" {
			flag = "`-" + row.Short + "`, " + flag
		}
		say("| %s | %s | %s |\n", flag, row.Verdict, verdict(row))
	}
	return page.Bytes()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// says is the key that a flag says, as a file would.
func says(row decision.Row) string {
	var keys []string
	for _, key := range row.To {
		key = "`" + key + "`"
		if row.Value != "" {
			key += " is " + row.Value
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return cell(upper(row.Text))
	}
	return strings.Join(keys, ", ")
}

func verdict(row decision.Row) string {
	text := upper(row.Text)
	switch row.Verdict {
	case decision.Mapped:
		to := "`" + strings.Join(row.To, "`, `") + "`"
		if row.Value != "" {
			to += " is " + row.Value
		}
		if text == "" {
			return to
		}
		return to + ": " + cell(row.Text)
	case decision.Refused:
		text += ". " + upper(row.Do)
	}
	return cell(text)
}

func kindOf(kind reflect.Type) string {
	if enum, ok := reflect.Zero(kind).Interface().(enumerated); ok {
		return "`" + strings.Join(enum.Values(), "`, `") + "`"
	}
	switch kind {
	case reflect.TypeFor[string]():
		return "string"
	case reflect.TypeFor[bool](), reflect.TypeFor[*bool]():
		return "boolean"
	case reflect.TypeFor[time.Duration]():
		return "time"
	case reflect.TypeFor[[]string]():
		return "string or list"
	case reflect.TypeFor[map[string]string]():
		return "object of strings"
	case reflect.TypeFor[[]PortPair]():
		return "list of pairs"
	case reflect.TypeFor[corev1.ResourceList]():
		return "object of quantities"
	case reflect.TypeFor[[]corev1.Toleration]():
		return "list of tolerations"
	case reflect.TypeFor[[]corev1.LocalObjectReference]():
		return "list of objects with a name"
	}
	return "list of ports"
}

func shownDefault(value reflect.Value) string {
	if value.IsZero() && value.Kind() != reflect.Bool {
		return ""
	}
	return fmt.Sprintf("`%v`", shown(value.Interface()))
}

const referenceHead = `# Configuration

Made by ` + "`make generate`" + ` from the table of decisions (config/decision) and the types (config).

What a session should do is said by flags, by variables of the environment and by a file, in this order of precedence. The file is the one that
` + "`-f`" + ` names, else ` + "`UNDERSTUDY_CONFIG_FILE`" + `, else ` + "`MIRRORD_CONFIG_FILE`" + `, else ` + "`.understudy/understudy.*`" + ` or ` + "`.mirrord/mirrord.*`" + ` (json, jsonc, yaml, yml or
toml) of the working directory and, in a git repository, of those above it: the nearest counts, and a folder of such a name is passed over, as an empty file is. ` + "`-f none`" + ` takes none. It is said which one was taken. Of one that was only found, and not named, completion takes no ` + "`kubeconfig`" + `, and the administrators' ` + "`restore`" + ` and ` + "`thaw`" + ` nothing.

` + "```yaml" + `
# .understudy/understudy.yaml
target: deployment/worker
takeover: scale-down
feature:
  env:
    override:
      LOG_LEVEL: debug
  network:
    outgoing:
      filter:
        local: ["localhost:5432"]
` + "```" + `

` + "`understudy config verify`" + ` says in a paragraph what that means, ` + "`config show`" + ` what holds, ` + "`config migrate`" + ` rewrites an old file. An unknown key, a value of
another kind and everything that does not go together is an error, all at once, each with its line. JSON may have comments and trailing commas.
[understudy.schema.json](understudy.schema.json) is the JSON Schema, for editors: ` + "`understudy config schema`" + ` prints it.

## Templates

A file is a template first, in the syntax that Jinja and Tera share: ` + "`{{ get_env(name=\"USER\", default=\"nobody\") }}`" + `, ` + "`{{ key }}`" + ` (the session's name: ` + "`--key`" + `, the
file's ` + "`key`" + `, or made up), ` + "`{{ git_branch }}`" + `, ` + "`{% if key == \"x\" %}…{% else %}…{% endif %}`" + `, and filters: Jinja's, and Tera's ` + "`default(value=…)`" + `,
` + "`replace(from=…, to=…)`" + `, ` + "`slugify`" + `, ` + "`split(pat=…)`" + `, ` + "`trim_start_matches(pat=…)`" + `, ` + "`trim_end_matches(pat=…)`" + `, ` + "`json_encode`" + `, ` + "`nth(n=…)`" + `,
` + "`get(key=…)`" + `, ` + "`slice(start=…, end=…)`" + `, ` + "`concat(with=…)`" + `, ` + "`date(format=…)`" + `, ` + "`addslashes`" + `, ` + "`pluralize`" + `; tests: Jinja's, and Tera's ` + "`starting_with`" + `, ` + "`ending_with`" + `, ` + "`containing`" + `, ` + "`matching`" + `, ` + "`object`" + `; functions: ` + "`now(utc=…, timestamp=…)`" + `,
` + "`range(start=…, end=…, step_by=…)`" + `, ` + "`throw(message=…)`" + `. What there is not is an error with the nearest that there is. A variable that does not exist is an error. One value has at most
128 KiB, as a variable of the environment does on Linux, and all that is filled in 4 MiB.

## Keys

A section that is written as one value: ` + "`feature.env`, `feature.network`, `feature.network.outgoing`, `feature.network.dns`, `feature.copy_target`" + ` take a
boolean, ` + "`feature.fs` and `feature.network.incoming`" + ` a boolean or their mode, ` + "`target`" + ` its path. A list of strings, and ` + "`listen`" + `, may be one string, joined with ` + "`;`" + `.
A time is ` + "`90s`, `5m`" + ` or a number of seconds.

| key | kind | default | |
|---|---|---|---|
`

const referenceFlags = `## Flags and variables

A flag of exec, the variable that stands for it, and what it says. Of two that do not go together the one that was said in the lower place gives way, with a
notice: ` + "`-s`" + ` overrules a file's ` + "`exclude`" + `, ` + "`--copy-target`" + ` a file's ` + "`wait`" + `, ` + "`--pause=false`" + ` and ` + "`--copy-target`" + ` a file's ` + "`takeover: freeze`" + `, and ` + "`--scale-down`" + ` its
` + "`takeover: copy`" + ` too. ` + "`--copy-target`" + ` over ` + "`takeover: scale-down`" + ` goes on holding the target; ` + "`--scale-down=false`" + ` lets it run. Both in one place are an error. A variable that is called ` + "`UNDERSTUDY_…` or `MIRRORD_…`" + ` and that nothing reads is told, with the
nearest that there is, but for what is no person's: what a cluster gives to its pods for a Service of such a name, what mirrord gives to the processes that it starts
(` + "`MIRRORD_LAYER_…`, `MIRRORD_INTPROXY_…`, `MIRRORD_RESOLVED_CONFIG`" + ` and the like) or reads in its own commands and editors, and the ` + "`UNDERSTUDY_TEST_…`, `UNDERSTUDY_E2E_…` and `UNDERSTUDY_CLUSTER_…`" + ` of this project's tests.

| flag | variable | key |
|---|---|---|
`

const referenceDecisions = `## What becomes of mirrord's keys

Every key that mirrord 3.101 or 3.250 knows, and some that were older. One that has no meaning here, or is refused, stands for all below it
but for what has a row of its own. What has no meaning is held to mirrord's own names and kinds all the same: what is misspelt there may have been meant for something that has.

| key | here | |
|---|---|---|
`
