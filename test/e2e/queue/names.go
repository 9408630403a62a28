// Package queue is the work queue of the tests and the demo: the names that
// its programs agree on, and the NATS server's own counters, read from its
// monitoring port. It never counts by what a consumer says of itself.
package queue

import "time"

// What the queue's programs agree on.
const (
	// Stream is a JetStream stream with work-queue retention: a message is
	// there until somebody has acknowledged it.
	Stream = "ORDERS"
	// Subject that the producer publishes to.
	Subject = "orders.new"
	// Consumer is the durable consumer that all workers share.
	Consumer = "workers"
	// AckWait is how long the server waits for an acknowledgement before it
	// gives a message to somebody else, unless the producer is told otherwise.
	AckWait = 5 * time.Second
	// MonitorPort is the server's monitoring port.
	MonitorPort = 8222
	// ClientPort is the port that clients connect to.
	ClientPort = 4222
)

// ClientName is how a worker names its connection: where it runs ("cluster" or
// "local") and its host's name.
func ClientName(site, host string) string { return "worker/" + site + "/" + host }
