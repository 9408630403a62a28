// Command client is a local process for the tests of the stage: built without
// cgo, so that nothing but the kernel stands between it and the network.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	acts := map[string]func(args []string) error{
		"tcp": tcp, "udp": udp, "reset": reset, "bulk": bulk, "listen": listen, "move": move, "signals": signals,
		"daemon": daemon, "lookup": lookup, "get": get, "lateLocal": lateLocal, "many": many, "hold": hold, "tick": tick,
	}
	act, ok := acts[os.Args[1]]
	if !ok {
		fmt.Fprintln(os.Stderr, "unknown act", os.Args[1])
		os.Exit(2)
	}
	if err := act(os.Args[2:]); err != nil {
		fmt.Println(what(err))
	}
}

func what(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return err.Error()
}

// tcp says hello, ends its direction, and prints all that comes back.
func tcp(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], 2*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	fmt.Printf("%q\n", answer)
	return err
}

// reset reads until the far end has reset the connection.
func reset(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], 2*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "x"); err != nil {
		return err
	}
	_, err = io.ReadAll(conn)
	return err
}

// hold connects, waits for the end of its standard input, and resets.
func hold(args []string) error {
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
	conn.(*net.TCPConn).SetLinger(0)
	return conn.Close()
}

func udp(args []string) error {
	conn, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(strings.Repeat("x", size))); err != nil {
		return err
	}
	answer := make([]byte, 65536)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	fmt.Println(n)
	return nil
}

// bulk sends and receives bytes for a while, and prints both rates in MB/s.
func bulk(args []string) error {
	for _, direction := range []string{"up", "down"} {
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			return err
		}
		total, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return err
		}
		begin := time.Now()
		fmt.Fprintf(conn, "%s %d\n", direction, total)
		if direction == "up" {
			if _, err := io.CopyN(conn, zeros{}, total); err != nil {
				return err
			}
			if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
				return err
			}
		} else if n, err := io.Copy(io.Discard, conn); err != nil || n != total {
			return fmt.Errorf("got %d of %d bytes: %w", n, total, err)
		}
		fmt.Printf("%s %.0f\n", direction, float64(total)/1e6/time.Since(begin).Seconds())
		conn.Close()
	}
	return nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// listen answers each connection with the addresses of both its ends, and each
// datagram ("udp:" before the address) with its sender's and its size, until its
// standard input ends.
func listen(args []string) error {
	for _, address := range args {
		if at, ok := strings.CutPrefix(address, "udp:"); ok {
			conn, err := net.ListenPacket("udp", at)
			if err != nil {
				return err
			}
			go func() {
				datagram := make([]byte, 65536)
				for {
					n, peer, err := conn.ReadFrom(datagram)
					if err != nil {
						return
					}
					conn.WriteTo(fmt.Appendf(nil, "%s %d", peer, n), peer)
				}
			}()
			fmt.Println("listening on", address)
			defer conn.Close()
			continue
		}
		network := "tcp"
		for _, one := range []string{"tcp4", "tcp6"} {
			if at, ok := strings.CutPrefix(address, one+":"); ok {
				network, address = one, at
			}
		}
		listener, err := net.Listen(network, address)
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				fmt.Fprintf(conn, "%s %s\n", conn.RemoteAddr(), conn.LocalAddr())
				conn.Close()
			}
		}()
		fmt.Println("listening on", address)
		defer listener.Close()
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// move listens at one address after the other, in turn, one line of standard
// input at each.
func move(args []string) error {
	lines := bufio.NewScanner(os.Stdin)
	for i := 0; ; i = (i + 1) % len(args) {
		listener, err := net.Listen("tcp", args[i])
		if err != nil {
			return err
		}
		fmt.Println("listening on", args[i])
		if !lines.Scan() {
			return lines.Err()
		}
		listener.Close()
	}
}

// lateLocal begins to listen and connects to itself at once, again and again.
func lateLocal(args []string) error {
	for range 20 {
		listener, err := net.Listen("tcp", args[0])
		if err != nil {
			return err
		}
		go func() {
			conn, err := listener.Accept()
			if err == nil {
				io.WriteString(conn, "local")
				conn.Close()
			}
		}()
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(conn)
		conn.Close()
		listener.Close()
		if err != nil || string(answer) != "local" {
			return fmt.Errorf("%q answered: %w", answer, err)
		}
	}
	fmt.Println("local")
	return nil
}

// signals prints each signal that it gets; SIGUSR2 ends it.
func signals([]string) error {
	got := make(chan os.Signal, 100)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGQUIT)
	fmt.Println("ready", os.Getpid())
	for s := range got {
		fmt.Println("got", s)
		if s == syscall.SIGUSR2 {
			break
		}
	}
	return nil
}

// daemon leaves a process in a session of its own behind, orphaned, and waits.
func daemon(args []string) error {
	if len(args) > 0 {
		if args[0] == "second" {
			command := exec.Command("/proc/self/exe", "daemon", "third")
			command.Stdout = os.Stdout
			command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			return command.Start()
		}
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		fmt.Println("daemon", os.Getpid())
		return forever()
	}
	command := exec.Command("/proc/self/exe", "daemon", "second")
	command.Stdout = os.Stdout
	if err := command.Run(); err != nil {
		return err
	}
	fmt.Println("command", os.Getpid())
	signal.Ignore(syscall.SIGTERM)
	return forever()
}

func lookup(args []string) error {
	addresses, err := net.LookupHost(args[0])
	var missing *net.DNSError
	if errors.As(err, &missing) && missing.IsNotFound {
		fmt.Println("no such host")
		return nil
	}
	fmt.Println(strings.Join(addresses, " "))
	return err
}

func get(args []string) error {
	response, err := http.Get(args[0])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

// many opens connections at the same time, each echoing a line of its own.
func many(args []string) error {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	failures := make(chan error, count)
	for i := range count {
		group.Go(func() {
			conn, err := net.Dial("tcp", args[0])
			if err != nil {
				failures <- err
				return
			}
			defer conn.Close()
			want := fmt.Sprintf("connection %d\n", i)
			io.WriteString(conn, want)
			if got, err := bufio.NewReader(conn).ReadString('\n'); got != want {
				failures <- fmt.Errorf("%q came back: %w", got, err)
			}
		})
	}
	group.Wait()
	close(failures)
	for err := range failures {
		return err
	}
	fmt.Println("all")
	return nil
}

func forever() error {
	for {
		time.Sleep(time.Hour)
	}
}

func tick([]string) error {
	for i := 1; ; i++ {
		fmt.Println("tick", i)
		time.Sleep(20 * time.Millisecond)
	}
}
