package record

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A word is there for whoever asks first, and for nobody else.
func TestWords(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "made"))
	now := time.Now()
	for _, w := range []Word{
		{Session: "a", PodUID: "p", Why: "this", Containers: 1, At: now},
		{Session: "b", PodUID: "q", Why: "that", At: now},
		{Session: "c", PodUID: "r", Why: "long ago", At: now.Add(-2 * wordFor)},
		{Session: "a", PodUID: "p", Why: "something else", Containers: 1, At: now},
	} {
		if err := dir.Leave(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(string(dir), "d"+wordSuffix), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dir.Leave(Word{Session: "../a"}); err == nil {
		t.Error("a word was left beside the directory")
	}
	if records, err := dir.List(); len(records) != 0 || err != nil {
		t.Errorf("words are taken for records: %v, %v", records, err)
	}
	if words := dir.Heed("p"); len(words) != 1 || words[0].Why != "something else" {
		t.Errorf("of the pod it is said %+v", words)
	}
	if words := dir.Heed("p"); len(words) != 0 {
		t.Errorf("said again: %+v", words)
	}
	// The one that is old and the one that nobody can read are gone by now.
	if words := dir.Heed(""); len(words) != 1 || words[0].Session != "b" {
		t.Errorf("of all pods it is said %+v", words)
	}
	if left, err := os.ReadDir(string(dir)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if words := Dir("/nonexistent").Heed(""); len(words) != 0 {
		t.Errorf("from nowhere: %v", words)
	}
}
