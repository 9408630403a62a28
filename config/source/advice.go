package source

import "regexp"

// advices are what to do about some of what the libraries say of a file.
var advices = []struct {
	format Format
	said   *regexp.Regexp
	advice string
}{
	{JSON, regexp.MustCompile(`invalid literal: |invalid character '.{1,2}' at start of value`), `in JSON a key and a text stand in double quotes: "like this"`},
	{JSON, regexp.MustCompile(`expecting ',' or`), "put a comma between the two"},
	{JSON, regexp.MustCompile(`unexpected EOF`), "a quote, a } or a ] is missing at the end"},
	{YAML, regexp.MustCompile(`mapping values are not allowed`), `the keys of one object begin in the same column, and a text with ": " in it stands in quotes`},
	{YAML, regexp.MustCompile(`did not find expected (key|'-' indicator)`), "the keys of one object begin in the same column, and so do the items of one list"},
	{YAML, regexp.MustCompile(`found character that cannot start any token`), "a text that begins with @, % or ` stands in quotes"},
	{YAML, regexp.MustCompile(`did not find expected ',' or`), "a comma, a } or a ] is missing"},
	{YAML, regexp.MustCompile(`unexpected end of stream`), "a quote is missing that ends a text"},
	{TOML, regexp.MustCompile(`a text has to stand in quotes`), `write "like this"`},
}

// advise is what to do about what a library said; empty where it says enough.
func advise(format Format, said string) string {
	for _, of := range advices {
		if of.format == format && of.said.MatchString(said) {
			return of.advice
		}
	}
	return ""
}
