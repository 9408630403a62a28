// Package record keeps on a node's disk what a session has done to a pod there,
// written before it is done, and undoes it: by whoever is left to read it.
//
// One file a session, DIR/SESSION.json. It is there from before the first
// container is frozen until after the last one is seen to run again.
package record
