package laptop_test

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"understudy.dev/understudy/test/e2e/laptop"
)

// A connection goes through, says nothing while the road is cut, and goes on
// when it is mended; nothing else is reached from there.
func TestRoad(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: making network namespaces needs root")
	}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			fmt.Fprintln(conn, "heard", lines.Text())
		}
	}()
	n, err := laptop.New(server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	at, err := url.Parse(n.Server())
	if err != nil {
		t.Fatal(err)
	}
	var conn net.Conn
	if err := n.Do(func() (err error) { conn, err = net.Dial("tcp", at.Host); return err }); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	say := func(word string, patience time.Duration) (string, error) {
		if _, err := fmt.Fprintln(conn, word); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(patience))
		return answers.ReadString('\n')
	}
	if answer, err := say("one", 5*time.Second); err != nil || answer != "heard one\n" {
		t.Fatalf("over the open road: %q, %v", answer, err)
	}
	if err := n.Cut(); err != nil {
		t.Fatal(err)
	}
	if answer, err := say("two", 500*time.Millisecond); err == nil {
		t.Fatalf("over the cut road: %q", answer)
	}
	if err := n.Mend(); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if answer, err := answers.ReadString('\n'); err != nil || answer != "heard two\n" {
		t.Fatalf("over the mended road: %q, %v", answer, err)
	}

	var routes []byte
	err = n.Do(func() (err error) { routes, err = exec.Command("ip", "route").CombinedOutput(); return err })
	if err != nil || strings.Contains(string(routes), "default") {
		t.Errorf("a laptop has no route outside: %v\n%s", err, routes)
	}
}
