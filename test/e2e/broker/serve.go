package broker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// Handler serves a broker to whoever has messages to publish, and its counters:
// GET /ready makes the queue and answers once it is there; POST /publish with
// first and count stores the messages of those numbers; GET /counters is one
// reading.
func Handler(b Broker) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, err error, value any) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(value) // whoever asked has gone
	}
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		answer(w, b.Publish(r.Context()), "the queue is there")
	})
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		first, err := strconv.Atoi(r.FormValue("first"))
		count, otherErr := strconv.Atoi(r.FormValue("count"))
		if err != nil || otherErr != nil {
			http.Error(w, "first and count are numbers", http.StatusBadRequest)
			return
		}
		answer(w, b.Publish(r.Context(), Messages(first, count)...), count)
	})
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, r *http.Request) {
		c, err := b.Counters(r.Context())
		answer(w, err, c)
	})
	return mux
}

// Messages are as many as that from a number on.
func Messages(first, count int) []string {
	var all []string
	for n := range count {
		all = append(all, Message(first+n))
	}
	return all
}

// Message is the one of a number.
func Message(n int) string { return fmt.Sprintf("order-%06d", n) }
