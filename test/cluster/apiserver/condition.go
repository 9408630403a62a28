package apiserver

import (
	"context"
	"fmt"
)

// conditioned is the part of an object that says how it is.
type conditioned struct {
	Status struct {
		Conditions []struct {
			Type, Status, Reason, Message string
		}
	}
}

// Condition returns nil when the object at path has a condition that is True, and
// otherwise an error that says what it has.
func (c *Client) Condition(ctx context.Context, path, kind string) error {
	var object conditioned
	if err := c.Get(ctx, path, &object); err != nil {
		return err
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type != kind {
			continue
		}
		if condition.Status == "True" {
			return nil
		}
		return fmt.Errorf("%s is %s=%s: %s: %s", path, kind, condition.Status, condition.Reason, condition.Message)
	}
	return fmt.Errorf("%s has no condition %s yet", path, kind)
}
