// Command relay carries connections from a listening socket that it is started
// with (file descriptor 3) to one address.
//
// A socket belongs to the network namespace that it was made in. So a relay that
// is started inside of the cluster with a socket from outside of it is a bridge
// for exactly one address, and there is no other.
package main

import (
	"flag"
	"io"
	"log"
	"net"
	"os"
	"time"
)

func main() {
	to := flag.String("to", "", "`address` to connect to, host:port")
	flag.Parse()
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		log.Fatalf("taking over the listening socket: %v", err)
	}
	for {
		incoming, err := listener.Accept()
		if err != nil {
			log.Fatalf("accepting a connection: %v", err)
		}
		go carry(incoming.(*net.TCPConn), *to)
	}
}

// carry copies both ways; each direction ends by itself, as between the two ends.
func carry(incoming *net.TCPConn, to string) {
	defer incoming.Close()
	connection, err := net.DialTimeout("tcp", to, 5*time.Second)
	if err != nil {
		// Reset, not closed in order: nothing answered.
		_ = incoming.SetLinger(0)
		log.Printf("connecting to %s: %v", to, err)
		return
	}
	outgoing := connection.(*net.TCPConn)
	defer outgoing.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pass(outgoing, incoming)
	}()
	pass(incoming, outgoing)
	<-done
}

// pass copies until the end and hands the end on; an error ends the whole.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		// The other end learns that it was cut, and the other direction ends.
		_ = to.SetLinger(0)
		_ = to.Close()
		_ = from.SetLinger(0)
		_ = from.Close()
		return
	}
	_ = to.CloseWrite()
}
