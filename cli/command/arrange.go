package command

import "github.com/spf13/cobra"

// headings are what the help shows the commands under, with their names.
var headings = []struct {
	title    string
	commands []string
}{
	{"Standing in for a workload:", []string{"exec", "plan", "ls", "sessions", "end"}},
	{"Setting it up, and when something is in the way:", []string{"config", "doctor", "version", "completion", "help"}},
	{"For administrators, when nothing else puts things back:", []string{"restore", "thaw"}},
}

// known are words that fingers know from the tools that people come from, and
// the command that does here what they meant.
var known = map[string][]string{
	"exec":       {"run", "container", "connect", "intercept", "replace", "bridge", "exchange", "up", "dev"},
	"sessions":   {"operator", "list-sessions"},
	"ls":         {"list", "list-targets", "get"},
	"end":        {"leave", "down", "stop", "quit", "purge", "recover", "reset", "delete"},
	"doctor":     {"diagnose", "gather-logs"},
	"completion": {"completions"},
}

// arrange puts the commands below their headings, and lets other tools' words
// lead to them.
func arrange(root *cobra.Command) {
	for _, heading := range headings {
		root.AddGroup(&cobra.Group{ID: heading.title, Title: heading.title})
		for _, sub := range root.Commands() {
			for _, name := range heading.commands {
				if sub.Name() == name {
					sub.GroupID = heading.title
				}
			}
		}
	}
	for _, sub := range root.Commands() {
		sub.SuggestFor = known[sub.Name()]
	}
}
