package record

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The first word of a session is there for whoever asks, until it is forgotten or
// old.
func TestWords(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "made"))
	for _, w := range []Word{
		{Session: "a", PodUID: "p", By: "first", Why: "why"}, {Session: "b", PodUID: "q", By: "other"}, {Session: "a", PodUID: "p", By: "late"},
	} {
		if err := dir.Leave(w); err != nil {
			t.Fatal(err)
		}
	}
	old, err := json.Marshal(Word{Session: "c", PodUID: "p", By: "old", At: time.Now().Add(-2 * wordFor)})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"c": string(old), "d": "{"} {
		if err := os.WriteFile(filepath.Join(string(dir), name+wordSuffix), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.Leave(Word{Session: "../a"}); err == nil {
		t.Error("a word was left beside the directory")
	}
	if records, err := dir.List(); len(records) != 0 || err != nil {
		t.Errorf("words are taken for records: %v, %v", records, err)
	}
	for range 2 {
		if words := dir.Words("p"); len(words) != 1 || words[0].String() != "first (why)" {
			t.Errorf("of the pod it is said %v", words)
		}
	}
	if words := dir.Words(""); len(words) != 2 {
		t.Errorf("of all pods it is said %v", words)
	}
	dir.Forget("p")
	// The one that was old and the one that nobody can read are gone by now.
	left, err := os.ReadDir(string(dir))
	if err != nil || len(left) != 1 || left[0].Name() != "b"+wordSuffix {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if words := Dir("/nonexistent").Words(""); len(words) != 0 {
		t.Errorf("from nowhere: %v", words)
	}
}
