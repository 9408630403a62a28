package session

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
)

func TestShort(t *testing.T) {
	other := errors.New("the server says no")
	for want, err := range map[string]error{
		"no answer":          fmt.Errorf("x: %w", context.DeadlineExceeded),
		"connection refused": &url.Error{Op: "Patch", URL: "https://x/y?z", Err: errors.New("connection refused")},
		"the server says no": other,
	} {
		if got := short(err).Error(); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	if got := short(&url.Error{Op: "Get", Err: context.DeadlineExceeded}).Error(); got != "no answer" {
		t.Error(got)
	}
}
