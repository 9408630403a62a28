package v1alpha1

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

func pauseOf(session types.UID, at time.Time) Pause {
	s := &Session{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "alice-1", UID: session}, Spec: SessionSpec{Owner: Owner{Username: "alice"}}}
	return NewPause("a-1", s, "true", at)
}

func TestPause(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := pauseOf("5b8e1a0c-0d6f-4b52-a8c9-6a6a6f3a1d01", at)
	if wrong := validation.IsQualifiedName(p.Key()); len(wrong) > 0 {
		t.Errorf("%s is no key of an annotation: %v", p.Key(), wrong)
	}
	read, err := ParsePause(p.String())
	if err != nil {
		t.Fatal(err)
	}
	p.Digest = read.Digest
	if diff := cmp.Diff(p, read); diff != "" {
		t.Error(diff)
	}
	for name, value := range map[string]string{
		"nothing":                "",
		"no JSON":                "{",
		"more":                   p.String() + "{}",
		"another field":          strings.Replace(p.String(), `{`, `{"more":1,`, 1),
		"changed":                strings.Replace(p.String(), `"true"`, `""`, 1),
		"of nothing":             Pause{Session: "s"}.String(),
		"of what it cannot have": Pause{Application: "a", Session: "s", Namespace: "n", Name: "n", Enabled: "false"}.String(),
	} {
		if _, err := ParsePause(value); !errors.Is(err, ErrPauseUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPauses(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first, second, other := pauseOf("z", at), pauseOf("b", at.Add(time.Second)), pauseOf("c", at)
	other.Application = "a-2"
	got, unreadable := Pauses(map[string]string{
		"team": "shop", second.Key(): second.String(), first.Key(): first.String(), other.Key(): other.String(),
		PausePrefix + "x": first.String(), PausePrefix + "y": "{",
	}, "a-1")
	if len(got) != 2 || got[0].Session != "z" || got[1].Session != "b" {
		t.Errorf("pauses: %+v", got)
	}
	if diff := cmp.Diff([]string{PausePrefix + "y"}, unreadable); diff != "" {
		t.Error(diff)
	}
	if Paused(map[string]string{"team": "shop"}) || !Paused(map[string]string{PausePrefix + "y": "{"}) {
		t.Error("what is paused is not told from what is not")
	}
}

func TestSyncs(t *testing.T) {
	object := func(policy any) map[string]any {
		return map[string]any{"spec": map[string]any{"syncPolicy": policy}}
	}
	automated := func(how map[string]any) map[string]any { return object(map[string]any{"automated": how}) }
	for name, c := range map[string]struct {
		content   map[string]any
		enabled   string
		automated bool
	}{
		"no policy":   {map[string]any{"spec": map[string]any{}}, "", false},
		"by hand":     {object(map[string]any{"syncOptions": []any{}}), "", false},
		"nothing":     {object(map[string]any{"automated": nil}), "", false},
		"by itself":   {automated(map[string]any{}), "", true},
		"it heals":    {automated(map[string]any{"selfHeal": true}), "", true},
		"switched on": {automated(map[string]any{"selfHeal": true, "enabled": true}), "true", true},
		"off":         {automated(map[string]any{"selfHeal": true, "enabled": false}), "false", false},
	} {
		enabled, syncs := Syncs(c.content)
		if enabled != c.enabled || syncs != c.automated {
			t.Errorf("%s: %q, %v", name, enabled, syncs)
		}
	}
	content := automated(map[string]any{"selfHeal": true})
	for _, enabled := range []string{"false", "true", "false", ""} {
		if err := SetSyncs(content, enabled); err != nil {
			t.Fatal(err)
		}
		if got, _ := Syncs(content); got != enabled {
			t.Errorf("it says %q, want %q", got, enabled)
		}
	}
	if diff := cmp.Diff(automated(map[string]any{"selfHeal": true}), content); diff != "" {
		t.Error(diff)
	}
}
