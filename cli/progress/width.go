package progress

import (
	"unicode"

	"golang.org/x/text/width"
)

// columns is how many columns a text takes on a terminal.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += columnsOf(r)
	}
	return n
}

func columnsOf(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	case width.Neutral, width.EastAsianAmbiguous, width.EastAsianNarrow, width.EastAsianHalfwidth:
	}
	return 1
}

// cut shortens text to n columns, and says by a mark that there is more.
func cut(text string, n int, more string) string {
	if n < 1 || columns(text) <= n {
		return text
	}
	taken := 0
	for i, r := range text {
		if taken+columnsOf(r) > n-columns(more) {
			return text[:i] + more
		}
		taken += columnsOf(r)
	}
	return text
}
