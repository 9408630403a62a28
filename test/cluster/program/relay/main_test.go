package main

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// pair returns the two ends of a TCP connection.
func pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	one, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	_ = one.SetDeadline(deadline)
	t.Cleanup(func() { _ = one.Close(); _ = other.Close() })
	return one.(*net.TCPConn), other.(*net.TCPConn)
}

// Each direction ends by itself: a client that has said all still gets the answer.
func TestCarryKeepsHalfClosedConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		defer connection.Close()
		asked, _ := io.ReadAll(connection)
		_, _ = connection.Write(append([]byte("answer to "), asked...))
	}()
	client, incoming := pair(t)
	go carry(incoming, listener.Addr().String())
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(client)
	if err != nil || string(got) != "answer to question" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestCarryResetsWhenNobodyAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	client, incoming := pair(t)
	carry(incoming, address)
	if n, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes, error %v, want a reset", n, err)
	}
}
