package replay

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares bytes with a file of hex.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(want)) != hex.EncodeToString(got) {
		t.Errorf("%s: the bytes have changed, and with them the protocol:\n got %x\nwant %s", name, got, want)
	}
}

func TestGoldenBytes(t *testing.T) {
	id := ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	golden(t, "hello-new", appendHello(nil, Hello{Op: OpNew, ID: id}))
	golden(t, "hello-resume", appendHello(nil, Hello{Op: OpResume, ID: id, Received: 0x0102030405060708}))
	golden(t, "reply-ok", appendReply(nil, StatusOK, 258))
	golden(t, "reply-superseded", appendReply(nil, StatusSuperseded, 0))
	golden(t, "data", append(appendDataHeader(nil, 3), "abc"...))
	golden(t, "ack", appendValue(nil, frameAck, 65536))
	golden(t, "ping", appendValue(nil, framePing, 1))
	golden(t, "pong", appendValue(nil, framePong, 1))
	golden(t, "close", []byte{frameClose, byte(ReasonBye)})
}

func TestFrameLimits(t *testing.T) {
	for _, test := range []struct{ name, hex string }{
		{"no data", "010000"},
		{"data longer than a record", "013ffe"},
		{"unknown type", "00"},
		{"unknown type", "06"},
	} {
		b, _ := hex.DecodeString(test.hex)
		if _, err := readFrame(bytes.NewReader(b), make([]byte, 8)); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func FuzzReadHello(f *testing.F) {
	f.Add(appendHello(nil, Hello{Op: OpNew, ID: ID{1}}))
	f.Add(appendHello(nil, Hello{Op: OpResume, ID: ID{1}, Received: 9}))
	f.Add([]byte("UNDY"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n0123456789012345"))
	f.Fuzz(func(t *testing.T, b []byte) {
		hello, err := ReadHello(bytes.NewReader(b))
		if err == nil && !bytes.Equal(appendHello(nil, hello), b[:helloSize]) {
			t.Errorf("%x decoded as %+v", b, hello)
		}
	})
}

func FuzzReadReply(f *testing.F) {
	f.Add(appendReply(nil, StatusOK, 9))
	f.Add(appendReply(nil, StatusUnknown, 0))
	f.Add(appendReply(nil, 77, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		received, err := readReply(bytes.NewReader(b))
		if err == nil && !bytes.Equal(appendReply(nil, StatusOK, received), b[:replySize]) {
			t.Errorf("%x decoded as %d", b, received)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add(append(appendDataHeader(nil, 3), "abc"...))
	f.Add(appendValue(nil, frameAck, 1))
	f.Add([]byte{frameClose, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		frame, err := readFrame(r, make([]byte, 8))
		if err != nil {
			return
		}
		var again []byte
		switch frame.kind {
		case frameData:
			again = appendDataHeader(nil, int(frame.value))
		case frameClose:
			again = []byte{frameClose, byte(frame.value)}
		default:
			again = appendValue(nil, frame.kind, frame.value)
		}
		if !bytes.Equal(again, b[:len(b)-r.Len()]) {
			t.Errorf("%x decoded as %+v", b, frame)
		}
	})
}
