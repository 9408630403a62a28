// Command echo is a sidecar: it answers every line on a TCP port, by default
// on the pod's loopback only, and every datagram on the UDP port of the same
// number, with its own name before it.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"os"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9400", "address to answer at")
	name := flag.String("name", "sidecar", "what it answers with")
	flag.Parse()
	if err := serve(*listen, *name); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func serve(listen, name string) error {
	packets, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			packets.WriteTo([]byte(name+" says "+string(buf[:n])), from) //nolint:errcheck // a datagram may be lost
		}
	}()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				fmt.Fprintf(conn, "%s says %s\n", name, lines.Text())
			}
		}()
	}
}
