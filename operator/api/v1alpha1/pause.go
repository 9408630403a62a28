package v1alpha1

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// PausePrefix and a session's UID are the key of an annotation on an Application
// of Argo CD: that session wants it not to sync by itself. Several sessions may
// want that of one Application; who takes the last of them off gives it back.
const PausePrefix = "understudy.dev/paused-by-"

// Pause is what such an annotation says: who, and what the Application was. It is
// one JSON object, and with it the Application can be given back by whoever reads
// it, without a Session and without an operator.
// +kubebuilder:object:generate=false
type Pause struct {
	// Application is the UID of the Application. On one that was made from a copy
	// of its manifest the annotation means nothing.
	Application types.UID `json:"application"`
	// Session is the UID of the session.
	Session types.UID `json:"session"`
	// Namespace and Name of that session.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Owner is the username of that session's owner.
	Owner string `json:"owner"`
	// Since is when it was written, in RFC 3339.
	Since string `json:"since"`
	// Enabled is what spec.syncPolicy.automated.enabled was: "true", or empty where
	// nothing was said.
	Enabled string `json:"enabled"`
	// Owners of that field, where another session has switched it off anew since this
	// one did; else they are in this session's record.
	Owners []FieldOwner `json:"owners,omitempty"`
	// Digest is the SHA-256, in lower-case hex, of the same JSON with an empty
	// digest. It tells a damaged memory from a good one; it is no signature.
	Digest string `json:"digest"`
}

// ErrPauseUnreadable is wrapped by every error of ParsePause.
var ErrPauseUnreadable = errors.New("the pause of the application cannot be read")

// NewPause makes the pause of a session, as of a time.
func NewPause(application types.UID, session *Session, enabled string, now time.Time) Pause {
	return Pause{
		Application: application, Session: session.UID, Namespace: session.Namespace, Name: session.Name,
		Owner: session.Spec.Owner.Username, Since: now.UTC().Format(time.RFC3339), Enabled: enabled,
	}
}

// Key of its annotation.
func (p Pause) Key() string { return PausePrefix + string(p.Session) }

// String is the annotation's value: the pause with its digest.
func (p Pause) String() string {
	p.Digest = p.digest()
	return writeMemory(p)
}

func (p Pause) digest() string {
	p.Digest = ""
	return digestMemory(p)
}

// ParsePause reads an annotation's value. Every error wraps ErrPauseUnreadable.
func ParsePause(value string) (Pause, error) {
	var p Pause
	if err := readMemory(value, &p, ErrPauseUnreadable); err != nil {
		return Pause{}, err
	}
	switch {
	case p.Digest != p.digest():
		return Pause{}, fmt.Errorf("%w: its digest does not match", ErrPauseUnreadable)
	case p.Application == "" || p.Session == "" || p.Namespace == "" || p.Name == "":
		return Pause{}, fmt.Errorf("%w: it names no application or no session", ErrPauseUnreadable)
	case p.Enabled != "" && p.Enabled != "true":
		return Pause{}, fmt.Errorf("%w: enabled was %q", ErrPauseUnreadable, p.Enabled)
	}
	return p, nil
}

// Pauses are those that the annotations of an Application bear, the latest last,
// and the keys of those that cannot be read. What was copied from another
// Application, or under another session's key, is neither.
func Pauses(annotations map[string]string, application types.UID) (pauses []Pause, unreadable []string) {
	for key, value := range annotations {
		if !strings.HasPrefix(key, PausePrefix) {
			continue
		}
		switch p, err := ParsePause(value); {
		case err != nil:
			unreadable = append(unreadable, key)
		case p.Application == application && p.Key() == key:
			pauses = append(pauses, p)
		}
	}
	slices.SortFunc(pauses, comparePauses)
	slices.Sort(unreadable)
	return pauses, unreadable
}

// CopiedPauses are those that the annotations of an Application bear and that are of
// another one, from whose manifest it was made.
func CopiedPauses(annotations map[string]string, application types.UID) []Pause {
	var copied []Pause
	for key, value := range annotations {
		if p, err := ParsePause(value); err == nil && p.Key() == key && p.Application != application {
			copied = append(copied, p)
		}
	}
	slices.SortFunc(copied, comparePauses)
	return copied
}

func comparePauses(a, b Pause) int {
	return cmp.Or(strings.Compare(a.Since, b.Since), strings.Compare(string(a.Session), string(b.Session)))
}

// Paused says whether an object bears any such annotation, whatever it is worth.
func Paused(annotations map[string]string) bool {
	for key := range annotations {
		if strings.HasPrefix(key, PausePrefix) {
			return true
		}
	}
	return false
}

// EnabledPath is where an Application says whether it syncs by itself, beside
// how. Argo CD has it since 3.1.
var EnabledPath = []string{"spec", "syncPolicy", "automated", "enabled"}

// Syncs says whether an Application syncs by itself, and what it says about it:
// "true", "false", or empty where it says how and no more.
func Syncs(content map[string]any) (enabled string, automated bool) {
	how, there, err := unstructured.NestedFieldNoCopy(content, EnabledPath[:len(EnabledPath)-1]...)
	if !there || err != nil || how == nil {
		return "", false
	}
	value, there, err := unstructured.NestedBool(content, EnabledPath...)
	if !there || err != nil {
		return "", true
	}
	return fmt.Sprint(value), value
}

// SetSyncs has an Application say "true", "false" or, for empty, nothing.
func SetSyncs(content map[string]any, enabled string) error {
	if enabled == "" {
		unstructured.RemoveNestedField(content, EnabledPath...)
		return nil
	}
	if err := unstructured.SetNestedField(content, enabled == "true", EnabledPath...); err != nil {
		return fmt.Errorf("setting %s: %w", strings.Join(EnabledPath, "."), err)
	}
	return nil
}
