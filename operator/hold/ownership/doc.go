// Package ownership says whose the number of a workload is, and what therefore is to
// be put back: what to do next is decided here, by pure functions over what was just
// read of the object (decide.go), its managedFields (ownership.go) and marks, and over
// the record that a session has of it.
//
// The operator decides by it, and an administrator's restore where there is none: the
// two must not come to differ. It writes nothing and knows no kind of workload.
package ownership
