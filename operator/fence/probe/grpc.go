package probe

import (
	"encoding/binary"
	"io"
	"net/http"
	"strings"
)

// The one call of gRPC that a probe makes, grpc.health.v1.Health/Check, over
// net/http's HTTP/2: the whole of gRPC would make the agent half as large again.

// Who passes a probe on, as Istio's agent does, calls itself something else.
func isHealthCheck(r *http.Request) bool {
	kind := r.Header.Get("Content-Type")
	return r.ProtoMajor == 2 && r.Method == http.MethodPost && r.URL.Path == "/grpc.health.v1.Health/Check" &&
		(kind == "application/grpc" || strings.HasPrefix(kind, "application/grpc+proto"))
}

// maxService in bytes.
const maxService = 4 << 10

// readService reads a HealthCheckRequest: a frame of a byte for compression, four
// for the length, and a message whose field 1 is the service's name.
func readService(body io.Reader) (string, bool) {
	var head [5]byte
	if _, err := io.ReadFull(body, head[:]); err != nil || head[0] != 0 {
		return "", false
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxService {
		return "", false
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(body, message); err != nil {
		return "", false
	}
	if size == 0 {
		return "", true
	}
	const field1 = 1<<3 | 2 // length-delimited
	length, n := binary.Uvarint(message[1:])
	if message[0] != field1 || n <= 0 || length != uint64(len(message)-1-n) {
		return "", false
	}
	return string(message[1+n:]), true
}

// sayServing writes HealthCheckResponse{status: SERVING} and status OK.
func sayServing(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "application/grpc")
	header.Set("Trailer", "Grpc-Status")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte{0, 0, 0, 0, 2, 1 << 3, 1})
	header.Set("Grpc-Status", "0")
}
