// Package standing says how a workload stands towards being held: why it must
// not be, as it is now, what a rollout of it still waits for, and whether one of its
// pods is alone.
//
// It is pure, and asked on both sides: by the operator before it holds, and by
// the command line tool before anything is made. What is said beforehand is so
// what would be said afterwards.
package standing

import "fmt"

// Unseen says that an object's controller has not yet looked at its present
// generation; empty when it has.
func Unseen(observed, generation int64) string {
	if observed >= generation {
		return ""
	}
	return fmt.Sprintf("generation %d was not yet seen by its controller", generation)
}

// Restarts is what a Job loses that is suspended, to which its owner has to
// have agreed.
const Restarts = "suspending a job ends its pods, and what they have done so far is begun again at the end"
