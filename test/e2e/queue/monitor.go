package queue

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// The parts of the server's monitoring answers that are read.
type (
	jsz struct {
		Accounts []struct {
			Streams []streamDetail `json:"stream_detail"`
		} `json:"account_details"`
	}
	streamDetail struct {
		Name  string `json:"name"`
		State struct {
			Messages uint64 `json:"messages"`
			LastSeq  uint64 `json:"last_seq"`
		} `json:"state"`
		Consumers []consumerDetail `json:"consumer_detail"`
	}
	consumerDetail struct {
		Name           string   `json:"name"`
		Delivered      sequence `json:"delivered"`
		AckFloor       sequence `json:"ack_floor"`
		NumAckPending  uint64   `json:"num_ack_pending"`
		NumPending     uint64   `json:"num_pending"`
		NumRedelivered uint64   `json:"num_redelivered"`
	}
	sequence struct {
		ConsumerSeq uint64 `json:"consumer_seq"`
		StreamSeq   uint64 `json:"stream_seq"`
	}
	connz struct {
		Connections []struct {
			CID     uint64 `json:"cid"`
			Name    string `json:"name"`
			IP      string `json:"ip"`
			OutMsgs uint64 `json:"out_msgs"`
			Reason  string `json:"reason"`
		} `json:"connections"`
	}
)

func (j jsz) find() (streamDetail, consumerDetail, error) {
	for _, account := range j.Accounts {
		for _, s := range account.Streams {
			if s.Name != Stream {
				continue
			}
			for _, c := range s.Consumers {
				if c.Name == Consumer {
					return s, c, nil
				}
			}
		}
	}
	return streamDetail{}, consumerDetail{}, fmt.Errorf("the NATS server has no stream %s with a consumer %s", Stream, Consumer)
}

// AtURL reads a server whose monitoring port is reached at the base URL.
func AtURL(base string) Monitor {
	return Monitor{Get: func(ctx context.Context, path string, query map[string]string) ([]byte, error) {
		values := url.Values{}
		for key, value := range query {
			values.Set(key, value)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path+"?"+values.Encode(), nil)
		if err != nil {
			return nil, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the answer was %s", res.Status)
		}
		return io.ReadAll(res.Body)
	}}
}
