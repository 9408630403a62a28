package v1alpha1

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A memory is one JSON object in an annotation, with a digest of itself: Claim
// and Pause are.

// writeMemory is its JSON.
func writeMemory(memory any) string {
	b, err := json.Marshal(memory)
	if err != nil {
		// Strings and numbers alone: there is no value that cannot be written.
		panic(err)
	}
	return string(b)
}

// digestMemory is the digest of one whose own is empty.
func digestMemory(memory any) string {
	sum := sha256.Sum256([]byte(writeMemory(memory)))
	return hex.EncodeToString(sum[:])
}

// readMemory reads one, strictly. Every error wraps unreadable.
func readMemory(value string, memory any, unreadable error) error {
	dec := json.NewDecoder(bytes.NewReader([]byte(value)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(memory); err != nil {
		return fmt.Errorf("%w: %w", unreadable, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the JSON object", unreadable)
	}
	return nil
}
