package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Word is what one that has thawed leaves on the node for whoever has to say later
// how the pod came to run on: a guard's own end is seen by nobody, and an agent
// that is started again may be lost before its last word is read.
type Word struct {
	Session string `json:"session"`
	PodUID  string `json:"podUID"`
	// By whom, and why if that is not plain.
	By  string    `json:"by"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at"`
}

func (w Word) String() string {
	if w.Why == "" {
		return w.By
	}
	return fmt.Sprintf("%s (%s)", w.By, w.Why)
}

// wordFor is how long a word is kept.
const wordFor = 24 * time.Hour

const wordSuffix = ".thawed"

// Leave writes a word, unless the session has one: the first that thawed did.
func (d Dir) Leave(w Word) error {
	if err := Check(w.Session); err != nil {
		return err
	}
	name := w.Session + wordSuffix
	if _, err := os.Lstat(filepath.Join(string(d), name)); err == nil {
		return nil
	}
	w.At = time.Now().UTC()
	data, err := json.Marshal(w)
	if err == nil {
		err = os.MkdirAll(string(d), 0o700)
	}
	if err == nil {
		err = d.replace(name, data)
	}
	if err != nil {
		return fmt.Errorf("leaving word of session %s: %w", w.Session, err)
	}
	return nil
}

// Words are what was left about a pod, or about all if podUID is "". Those that
// are old are taken away. One that cannot be read is nobody's loss: nothing
// depends on it.
func (d Dir) Words(podUID string) []Word {
	return d.words(podUID, func(w Word) bool { return time.Since(w.At) > wordFor })
}

// Forget takes away what was left about a pod: it is begun anew, or over.
func (d Dir) Forget(podUID string) {
	d.words(podUID, func(w Word) bool { return w.PodUID == podUID })
}

func (d Dir) words(podUID string, over func(Word) bool) []Word {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil
	}
	var words []Word
	for _, entry := range entries {
		session, ok := strings.CutSuffix(entry.Name(), wordSuffix)
		if !ok || Check(session) != nil {
			continue
		}
		path := filepath.Join(string(d), entry.Name())
		var w Word
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, &w)
		}
		switch {
		case errors.Is(err, os.ErrNotExist): // somebody else has taken it away
		case err != nil || over(w):
			os.Remove(path)
		case podUID == "" || w.PodUID == podUID:
			words = append(words, w)
		}
	}
	return words
}
