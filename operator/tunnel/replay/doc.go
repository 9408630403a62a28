// Package replay makes one byte stream out of many raw connections, one after
// the other: when a raw connection breaks, whoever made it makes another, the
// two ends tell each other how many bytes they have received, and what was
// sent beyond that is sent again. The reader sees every byte once and in order.
//
// It does not dial, encrypt or authenticate, and it does not decide when a
// peer is given up: its owner does. The bytes are specified in the package
// comment of operator/tunnel, "The link".
package replay
