package v1alpha1

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var aClaim = NewClaim("w-1", "s-1", "alice-1", "alice@example.com", 3, time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))

func TestClaimSurvivesTheAnnotation(t *testing.T) {
	got, err := ParseClaim(aClaim.String())
	if err != nil {
		t.Fatal(err)
	}
	got.Digest = ""
	if got != aClaim {
		t.Errorf("read %+v, wrote %+v", got, aClaim)
	}
}

func TestClaimText(t *testing.T) {
	want := `{"workload":"w-1","session":"s-1","name":"alice-1","owner":"alice@example.com","since":"2026-03-04T05:06:07Z","replicas":3,"digest":"`
	if got := aClaim.String(); !strings.HasPrefix(got, want) {
		t.Errorf("the annotation is\n%s\nwant it to begin with\n%s", got, want)
	}
}

// Whatever happens to the annotation, no number comes out of it.
func TestClaimUnreadable(t *testing.T) {
	good := aClaim.String()
	for name, text := range map[string]string{
		"empty":              "",
		"not JSON":           "three",
		"a bare number":      "3",
		"null":               "null",
		"cut":                good[:len(good)-5],
		"other number":       strings.Replace(good, `"replicas":3`, `"replicas":1`, 1),
		"number as text":     strings.Replace(good, `"replicas":3`, `"replicas":"3"`, 1),
		"number gone":        strings.Replace(good, `"replicas":3,`, ``, 1),
		"other workload":     strings.Replace(good, `w-1`, `w-2`, 1),
		"unknown field":      strings.Replace(good, `{`, `{"more":1,`, 1),
		"something after":    good + "{}",
		"digest gone":        good[:strings.Index(good, `,"digest"`)] + "}",
		"no session":         Claim{Workload: "w-1", Name: "x"}.String(),
		"no workload":        Claim{Session: "s-1", Name: "x"}.String(),
		"negative replicas":  Claim{Workload: "w-1", Session: "s-1", Name: "x", Replicas: -1}.String(),
		"list":               "[" + good + "]",
		"too large a number": strings.Replace(good, `"replicas":3`, `"replicas":3000000000`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseClaim(text); !errors.Is(err, ErrClaimUnreadable) || got != (Claim{}) {
				t.Errorf("got %+v, error %v", got, err)
			}
		})
	}
}

func FuzzParseClaim(f *testing.F) {
	f.Add(aClaim.String())
	f.Add(`{"replicas":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		claim, err := ParseClaim(text)
		if err != nil {
			return
		}
		again, err := ParseClaim(claim.String())
		if err != nil || again != claim {
			t.Errorf("%q reads as %+v, and that as %+v, %v", text, claim, again, err)
		}
	})
}
