package tunnel

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// plainWelcome has Welcome's fields and nothing of its encoding.
type plainWelcome Welcome

// encodedWelcome keeps the variables that JSON's text cannot hold apart, as
// bytes.
type encodedWelcome struct {
	plainWelcome
	EnvironmentBytes [][]byte `json:"environmentBytes,omitempty"`
}

// MarshalJSON keeps every byte of the environment.
func (w Welcome) MarshalJSON() ([]byte, error) {
	encoded := encodedWelcome{plainWelcome: plainWelcome(w)}
	encoded.Environment = slices.DeleteFunc(slices.Clone(w.Environment), func(variable string) bool {
		if utf8.ValidString(variable) {
			return false
		}
		encoded.EnvironmentBytes = append(encoded.EnvironmentBytes, []byte(variable))
		return true
	})
	return json.Marshal(encoded)
}

// UnmarshalJSON puts the variables that came as bytes behind the others.
func (w *Welcome) UnmarshalJSON(data []byte) error {
	var encoded encodedWelcome
	if err := json.Unmarshal(data, &encoded); err != nil {
		return err
	}
	for _, variable := range encoded.EnvironmentBytes {
		encoded.Environment = append(encoded.Environment, string(variable))
	}
	*w = Welcome(encoded.plainWelcome)
	return nil
}
