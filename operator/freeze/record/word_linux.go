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

// Word is what a guard that has thawed leaves on the node for whoever has to say
// later how the pod came to run on: the guard's own end is seen by nobody.
type Word struct {
	Session string `json:"session"`
	PodUID  string `json:"podUID"`
	// Why it had to.
	Why string `json:"why"`
	// Containers that the kernel still said were frozen.
	Containers int       `json:"containers"`
	At         time.Time `json:"at"`
}

// wordFor is how long a word is kept that nobody has asked for.
const wordFor = 24 * time.Hour

const wordSuffix = ".thawed"

// Leave writes a word, in the place of one that the session had.
func (d Dir) Leave(w Word) error {
	if err := Check(w.Session); err != nil {
		return err
	}
	data, err := json.Marshal(w)
	if err == nil {
		err = os.MkdirAll(string(d), 0o700)
	}
	if err == nil {
		err = d.replace(w.Session+wordSuffix, data)
	}
	if err != nil {
		return fmt.Errorf("leaving word of session %s: %w", w.Session, err)
	}
	return nil
}

// Heed takes away the words about a pod, or about all if podUID is "", and returns
// them. One that cannot be read is nobody's loss: nothing depends on it.
func (d Dir) Heed(podUID string) []Word {
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
		if errors.Is(err, os.ErrNotExist) {
			continue // somebody else has it
		}
		mine := err == nil && (podUID == "" || w.PodUID == podUID)
		if mine {
			words = append(words, w)
		}
		if mine || err != nil || time.Since(w.At) > wordFor {
			os.Remove(path)
		}
	}
	return words
}
