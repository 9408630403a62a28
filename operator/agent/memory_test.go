package agent

import (
	"log/slog"
	"math"
	"runtime/debug"
	"testing"
)

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"v2", map[string]string{"sys/fs/cgroup/memory.max": "33554432\n"}, 24 << 20},
		{"v1", map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n"}, 48 << 20},
		{"v2 without limit", map[string]string{"sys/fs/cgroup/memory.max": "max\n"}, math.MaxInt64},
		{"v1 without limit", map[string]string{"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, math.MaxInt64},
		{"neither", nil, math.MaxInt64},
	} {
		debug.SetMemoryLimit(math.MaxInt64)
		limitMemory(slog.New(slog.DiscardHandler), filesystem(t, test.files))
		if got := debug.SetMemoryLimit(-1); got != test.want {
			t.Errorf("%s: limited to %d, not %d", test.name, got, test.want)
		}
	}
}
