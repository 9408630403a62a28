// Package mux carries many two-way streams over one ordered byte stream: each
// with flow control, an end of each direction by itself, and a reset.
//
// It is not yamux, whose streams each begin with a window of 256 KiB: a
// thousand of them, stalled, are 250 MiB, and the agent has 32. Here each end
// says how large its windows are when a stream is opened, and lets them grow
// for busy streams out of one budget for all. Nor has yamux a reset that the
// application can ask for, or a reply that comes with the opening of a stream.
//
// The package knows nothing of what streams are for. The bytes are specified
// in the package comment of operator/tunnel, "Streams".
package mux
