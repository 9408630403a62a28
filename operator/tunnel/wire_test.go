package tunnel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	if *update {
		if err := os.WriteFile(path, []byte(hex.Dump(got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), hex.Dump(got)); diff != "" {
		t.Errorf("%s: the bytes have changed, and with them the protocol (-was +is):\n%s", name, diff)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestGoldenBytes(t *testing.T) {
	to := netip.MustParseAddrPort("10.1.2.3:5672")
	peer := netip.MustParseAddrPort("[fd00::7]:40000")
	for name, got := range map[string][]byte{
		"control":  must(encodeHeader(kindControl, hello{Session: "uid-1"})),
		"tcp":      must(encodeHeader(kindTCP, dial{To: to})),
		"udp":      must(encodeHeader(kindUDP, dial{To: to})),
		"listen":   must(encodeHeader(kindListen, listen{ListenRequest: ListenRequest{Network: "tcp", Port: 8080, Loopback: true, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}}, Listen: 3})),
		"accepted": must(encodeHeader(kindAccepted, accepted{Listen: 3, Peer: peer, Local: to})),
		"tree":     must(encodeHeader(kindTree, readTree{Mount: "/etc/config"})),
		"ready":    must(encodeHeader(kindReady, ready{Ready: true})),
		"end":      must(encodeHeader(kindEnd, struct{}{})),

		"reply-dialled":   must(encodeReply(statusOK, dialled{From: peer})),
		"reply-listening": must(encodeReply(statusOK, listening{Addr: to})),
		"reply-refused":   failureReply(ErrRefused),
		"reply-forbidden": failureReply(ErrForbidden),
	} {
		golden(t, name, got)
	}
	var b bytes.Buffer
	writeMessage(&b, messageWelcome, podWelcome)
	golden(t, "welcome", b.Bytes())
	b.Reset()
	writeMessage(&b, messageEvent, Event{LoopbackPorts: []Endpoint{{Network: "tcp", Addr: to.Addr(), Port: 80}}})
	golden(t, "event", b.Bytes())
	b.Reset()
	writeFile(&b, File{Path: "a/b", Mode: 0o640, Data: []byte("content")})
	writeMessage(&b, recordEnd, endRecord{Version: "v1"})
	golden(t, "files", b.Bytes())
}

// What is refused is refused before memory is taken for it.
func TestLimitsBeforeAllocation(t *testing.T) {
	message := func(kind byte, length uint32) []byte {
		return binary.BigEndian.AppendUint32([]byte{kind}, length)
	}
	file := func(size int) []byte {
		var b bytes.Buffer
		writeMessage(&b, recordFile, fileRecord{Path: "x", Size: size})
		return b.Bytes()
	}
	for _, test := range []struct {
		name string
		in   []byte
		want error
	}{
		{"welcome", message(messageWelcome, MaxWelcome+1), ErrTooLarge},
		{"event", message(messageEvent, MaxEvent+1), ErrTooLarge},
		{"record", message(recordFile, maxRecord+1), ErrTooLarge},
		{"unknown", message(99, 1), ErrProtocol},
		{"file", file(MaxFileSize + 1), ErrTooLarge},
		{"negative file", file(-1), ErrTooLarge},
		{"a claim of 16 MiB and nothing behind it", message(messageWelcome, MaxWelcome), io.ErrUnexpectedEOF},
		{"a claim of 2 MiB and nothing behind it", file(MaxFileSize), io.ErrUnexpectedEOF},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readFiles(bytes.NewReader(test.in))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 256<<10 {
			t.Errorf("%s: took %d bytes", test.name, took)
		}
	}
	if _, err := encodeHeader(kindTree, readTree{Mount: strings.Repeat("x", maxHeader)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a header that is too large: %v", err)
	}
	if reply := failureReply(errors.New(strings.Repeat("x", 1<<20))); len(reply) > maxHeader {
		t.Errorf("a reply of %d bytes", len(reply))
	}
}

// Every error of the package survives the way to the other end.
func TestErrorsSurvive(t *testing.T) {
	for _, sentinel := range statusErrors {
		got := decodeReply(failureReply(sentinel), nil)
		if !errors.Is(got, sentinel) {
			t.Errorf("%v came out as %v", sentinel, got)
		}
		wordy := &saidError{sentinel: sentinel, message: "because: " + sentinel.Error()}
		if got := decodeReply(failureReply(wordy), nil); !errors.Is(got, sentinel) || got.Error() != wordy.Error() {
			t.Errorf("%v came out as %v", wordy, got)
		}
	}
	if got := decodeReply(failureReply(errors.New("disk on fire")), nil); got == nil || got.Error() != "disk on fire" {
		t.Errorf("got %v", got)
	}
}

func TestStreamHeaderVersion(t *testing.T) {
	header := must(encodeHeader(kindTCP, dial{}))
	header[0] = 9
	_, _, err := decodeHeader(header)
	if version, ok := errors.AsType[*VersionError](err); !ok || version.Theirs != 9 || version.Ours != Version {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeHeader(f *testing.F) {
	f.Add(must(encodeHeader(kindTCP, dial{To: netip.MustParseAddrPort("10.1.2.3:5672")})))
	f.Add(must(encodeHeader(kindControl, hello{Session: "uid"})))
	f.Add([]byte{Version, 1, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, body, err := decodeHeader(b)
		if err != nil {
			return
		}
		if len(body) > maxHeader || len(body) != len(b)-4 || Kind(b[1]) != kind {
			t.Errorf("%x decoded as %d, %q", b, kind, body)
		}
		for _, into := range []any{&hello{}, &dial{}, &listen{}, &accepted{}, &readTree{}, &ready{}} {
			_ = json.Unmarshal(body, into)
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	f.Add(must(encodeReply(statusOK, listening{})))
	f.Add(failureReply(ErrInUse))
	f.Add([]byte{200, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var answer listening
		if err := decodeReply(b, &answer); err == nil && b[0] != byte(statusOK) {
			t.Errorf("%x is a success", b)
		}
	})
}

func FuzzReadFiles(f *testing.F) {
	var b bytes.Buffer
	writeFile(&b, File{Path: "a", Mode: 0o644, Data: []byte("x")})
	writeMessage(&b, recordEnd, endRecord{Version: "1"})
	f.Add(b.Bytes())
	b.Reset()
	writeMessage(&b, recordEnd, endRecord{Status: statusChanging, Message: "m"})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		tree, err := readFiles(bytes.NewReader(in))
		if err != nil {
			return
		}
		var out bytes.Buffer
		for _, file := range tree.Files {
			if err := writeFile(&out, file); err != nil {
				t.Fatalf("read what cannot be written: %v", err)
			}
		}
		writeMessage(&out, recordEnd, endRecord{Version: tree.Version})
		again, err := readFiles(&out)
		if diff := cmp.Diff(tree, again, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}

func FuzzReadMessage(f *testing.F) {
	var b bytes.Buffer
	writeMessage(&b, messageWelcome, podWelcome)
	f.Add(b.Bytes())
	b.Reset()
	writeMessage(&b, messageEvent, Event{})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		kind, body, err := readMessage(bytes.NewReader(in))
		if err != nil {
			return
		}
		if len(body) > messageLimits[kind] {
			t.Errorf("%d bytes of type %d", len(body), kind)
		}
		_ = json.Unmarshal(body, &Welcome{})
		_ = json.Unmarshal(body, &Event{})
	})
}
