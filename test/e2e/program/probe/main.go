// Command probe asks about the network it is in, and answers those who ask.
//
//	probe serve   answers HTTP: / says who called whom, /env, /file, /dial, /lookup and /get do what their names say
//	probe dial NETWORK ADDRESS     says connected, refused, unreachable, timeout or the error
//	probe lookup NAME              says the addresses, or unknown
//	probe say NETWORK ADDRESS WORD sends a line and prints the answer
//	probe get URL                  prints the body of the answer
//
// It is linked statically and uses Go's own resolver: what it sees no preloaded
// library can have shown it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

const patience = 10 * time.Second

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: probe serve|dial|lookup|say|get ...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(what string, args []string) error {
	switch {
	case what == "serve":
		return serve(args)
	case what == "dial" && len(args) == 2:
		fmt.Println(dial(args[0], args[1]))
	case what == "lookup" && len(args) == 1:
		fmt.Println(lookup(args[0]))
	case what == "get" && len(args) == 1:
		fmt.Print(get(args[0]))
	case what == "say" && len(args) == 3:
		answer, err := say(args[0], args[1], args[2])
		if err != nil {
			return err
		}
		fmt.Print(answer)
	default:
		return fmt.Errorf("no such question: %s %s", what, strings.Join(args, " "))
	}
	return nil
}

func dial(network, address string) string {
	conn, err := net.DialTimeout(network, address, patience)
	var timeout net.Error
	switch {
	case err == nil:
		conn.Close()
		return "connected"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return err.Error()
}

func lookup(name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	var unknown *net.DNSError
	switch {
	case err == nil:
		return strings.Join(addrs, " ")
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return "unknown"
	}
	return err.Error()
}

func say(network, address, word string) (string, error) {
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\n", word); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func get(url string) string {
	// A connection that is kept stays with whoever has it.
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	return string(body)
}

// answer is what / says, as JSON.
type answer struct {
	Site   string `json:"site"`
	Host   string `json:"host"`
	PID    int    `json:"pid"`
	Caller string `json:"caller"`
	Local  string `json:"local"`
}

func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "address to serve at")
	also := flags.String("also", "", "a second address to serve at")
	site := flags.String("site", os.Getenv("PROBE_SITE"), "what it calls itself")
	flags.Parse(args) //nolint:errcheck // it exits

	host, err := os.Hostname()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		json.NewEncoder(w).Encode(answer{*site, host, os.Getpid(), r.RemoteAddr, local.String()}) //nolint:errcheck // the caller went
	})
	mux.HandleFunc("/grpc.health.v1.Health/Check", healthy)
	say := func(path string, f func(r *http.Request) string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, f(r)) })
	}
	say("/env", func(r *http.Request) string { return os.Getenv(r.FormValue("name")) })
	say("/file", func(r *http.Request) string {
		data, err := os.ReadFile(r.FormValue("path"))
		if err != nil {
			return "error: " + err.Error()
		}
		return string(data)
	})
	say("/dial", func(r *http.Request) string { return dial("tcp", r.FormValue("address")) })
	say("/lookup", func(r *http.Request) string { return lookup(r.FormValue("name")) })
	say("/get", func(r *http.Request) string { return get(r.FormValue("url")) })

	failed := make(chan error, 2)
	for _, address := range []string{*listen, *also} {
		if address == "" {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		fmt.Printf("probe %s at %s: listening on %s\n", *site, host, l.Addr())
		server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
		go func() { failed <- server.Serve(l) }()
	}
	return <-failed
}

// healthy answers the gRPC health check: SERVING, in a message of two bytes.
func healthy(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Write([]byte{0, 0, 0, 0, 2, 0x08, 1}) //nolint:errcheck // the caller went
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}
