package stage

import (
	"context"
	"os"
	"sync"

	"understudy.dev/understudy/cli/stage/cue"
	"understudy.dev/understudy/cli/stage/network"
)

// handLine is the hand as the keeper has it: orders and their answers, and
// news.
type handLine struct {
	line *cue.Line

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan reply

	// sockets brings the latest list of what listens; it is closed with lost.
	sockets chan []network.Socket
	// exited is closed when status holds how the command ended.
	exited chan struct{}
	status Status
	// lost is closed when the hand is gone.
	lost chan struct{}
}

type reply struct {
	report
	file *os.File
}

func newHandLine(line *cue.Line) *handLine {
	return &handLine{
		line: line, waiting: map[uint64]chan reply{}, sockets: make(chan []network.Socket, 1),
		exited: make(chan struct{}), lost: make(chan struct{}),
	}
}

// ask gives an order and waits for its answer. The error is ErrHandLost where
// there can be none.
func (h *handLine) ask(ctx context.Context, o order) (report, *os.File, error) {
	answered := make(chan reply, 1)
	h.mu.Lock()
	h.last++
	o.ID = h.last
	h.waiting[o.ID] = answered
	h.mu.Unlock()
	if err := h.line.Send(o); err != nil {
		h.forget(o.ID, answered)
		return report{}, nil, ErrHandLost
	}
	select {
	case r := <-answered:
		return r.report, r.file, r.err()
	case <-h.lost:
		// The answer may have been the last thing it said.
		select {
		case r := <-answered:
			return r.report, r.file, r.err()
		default:
			return report{}, nil, ErrHandLost
		}
	case <-ctx.Done():
		h.forget(o.ID, answered)
		return report{}, nil, ctx.Err()
	}
}

// forget closes what an answer brings that nobody waits for any more.
func (h *handLine) forget(id uint64, answered chan reply) {
	h.mu.Lock()
	delete(h.waiting, id)
	h.mu.Unlock()
	select {
	case r := <-answered:
		if r.file != nil {
			r.file.Close()
		}
	default:
	}
}

func (h *handLine) listen() {
	defer close(h.sockets)
	defer close(h.lost)
	for {
		var r report
		files, err := h.line.Receive(&r)
		if err != nil {
			return
		}
		h.deliver(r, files)
	}
}

func (h *handLine) deliver(r report, files []*os.File) {
	switch {
	case r.ID != 0:
		h.mu.Lock()
		answered, ok := h.waiting[r.ID]
		delete(h.waiting, r.ID)
		h.mu.Unlock()
		if ok && len(files) == 1 {
			answered <- reply{r, files[0]}
			return
		}
		if ok {
			answered <- reply{report: r}
		}
	case r.Exited != nil:
		h.status = *r.Exited
		close(h.exited)
	case r.HasSockets:
		select { // only the latest list counts
		case <-h.sockets:
		default:
		}
		h.sockets <- r.Sockets
	}
	for _, file := range files {
		file.Close()
	}
}

func (h *handLine) close() { h.line.Close() }
