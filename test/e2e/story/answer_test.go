package story

import (
	"context"
	"fmt"
	"strings"

	"understudy.dev/understudy/test/e2e/cluster"
)

// untilAnswered has the caller in the cluster ask a URL until the answer
// contains what is wanted: a Service takes a moment to learn of a new pod.
func (s *scene) untilAnswered(url, wanted string) string {
	s.Helper()
	var body string
	s.must(cluster.Until(s.within(patience), func(context.Context) error {
		body = s.asks("caller", "/get", map[string]string{"url": url})
		if !strings.Contains(body, wanted) {
			return fmt.Errorf("%s answers %s", url, body)
		}
		return nil
	}))
	return body
}
