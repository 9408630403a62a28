// Command answer is the application of the acceptance test: a server that says
// which pod it is, and a client that can be run inside of a pod.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			name, _ := os.Hostname()
			fmt.Fprintln(w, name)
		}))
	}
	if len(args) != 2 {
		return fmt.Errorf("want get URL, lookup NAME or dial ADDRESS")
	}
	switch args[0] {
	case "get":
		// A new connection each time: the Service chooses anew.
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Get(args[1])
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(os.Stdout, response.Body)
		return err
	case "lookup":
		addresses, err := net.LookupHost(args[1])
		fmt.Println(addresses)
		return err
	case "dial":
		connection, err := net.DialTimeout("tcp", args[1], 3*time.Second)
		if err != nil {
			return err
		}
		return connection.Close()
	}
	return fmt.Errorf("no command %q", args[0])
}
