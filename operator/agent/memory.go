package agent

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitMemory makes the collector keep the heap within the container's memory
// limit, as cgroup v2 or v1 says it, less a quarter for what is not heap: the
// program's own pages, the kernel's buffers, and the probes, which are processes
// in the same container. In a container its own cgroup is mounted at the root of
// the hierarchy.
//
// GOGC, GOMEMLIMIT and GOMAXPROCS in the environment are the application's, not
// the agent's, and are overruled.
func limitMemory(log *slog.Logger, root string) {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(math.MaxInt64)
	runtime.SetDefaultGOMAXPROCS()
	for _, path := range []string{
		"sys/fs/cgroup/memory.max",
		"sys/fs/cgroup/memory/memory.limit_in_bytes",
	} {
		limit, ok := parseMemoryLimit(filepath.Join(root, path))
		if !ok {
			continue
		}
		debug.SetMemoryLimit(limit - limit/4)
		log.Info("memory limited", "bytes", limit)
		return
	}
}

// parseMemoryLimit reads a limit; false where there is none, or the huge
// number that stands for none in v1.
func parseMemoryLimit(path string) (int64, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return limit, err == nil && limit > 0 && limit < math.MaxInt64/2
}
