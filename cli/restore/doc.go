// Package restore puts held workloads back when there is no operator any more to
// do it: by the annotations that they bear, and by what is left of the Sessions.
//
// It is an administrator's tool. It does what the operator would do, once: say in
// the Session that nothing is held, so that the admission policies let pods start;
// end the stand-in and see it gone; write the number and take the claim off in one
// patch; let the Session go. Killed in between it leaves claims and Sessions, from
// which the next run goes on. Whose a zero is it decides by the operator's own functions
// (operator/hold/ownership). What cannot be read is named and left to a person.
package restore
