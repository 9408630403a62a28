package source

import "fmt"

// Node is one value of a file.
type Node struct {
	// Value is nil, a bool, int64, float64 or string, or []*Node, or []Member
	// in the order of the file.
	Value any
	// Text is how a number or a boolean is written in the file; empty where that
	// is not known.
	Text string
	// Line where the value begins, from 1.
	Line int
}

// Member is one key of an object, its case as in the file.
type Member struct {
	Key string
	// Line of the key, from 1.
	Line  int
	Value *Node
}

// Kind is the value's kind as a person would call it.
func (n *Node) Kind() string {
	switch n.Value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	case string:
		return "a string"
	case []*Node:
		return "a list"
	default:
		return "an object"
	}
}

// String is the value as a person would write it, shortened to its kind where
// it is a list or an object.
func (n *Node) String() string {
	if n.Text != "" {
		return n.Text
	}
	switch value := n.Value.(type) {
	case string:
		return fmt.Sprintf("%q", value)
	case bool, int64, float64:
		return fmt.Sprint(value)
	}
	return n.Kind()
}

// Empty says whether it is a list or an object that holds nothing.
func (n *Node) Empty() bool {
	switch value := n.Value.(type) {
	case []*Node:
		return len(value) == 0
	case []Member:
		return len(value) == 0
	}
	return false
}

// Member finds a key of an object; nil where there is none, or no object.
func (n *Node) Member(key string) *Node {
	members, _ := n.Value.([]Member)
	for _, member := range members {
		if member.Key == key {
			return member.Value
		}
	}
	return nil
}

// Plain is the value as encoding/json would decode it.
func (n *Node) Plain() any {
	switch value := n.Value.(type) {
	case []*Node:
		list := make([]any, len(value))
		for i, item := range value {
			list[i] = item.Plain()
		}
		return list
	case []Member:
		object := map[string]any{}
		for _, member := range value {
			object[member.Key] = member.Value.Plain()
		}
		return object
	case int64:
		return float64(value)
	default:
		return value
	}
}

// Error is something wrong with a file, at a place in it.
type Error struct {
	// File as it was named.
	File string
	// Line from 1, or 0 for the file as a whole.
	Line int
	// What is wrong, without the place.
	What string
	// Advice says what to do; may be empty.
	Advice string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.What
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.What)
}

// Hint is the advice.
func (e *Error) Hint() string { return e.Advice }
