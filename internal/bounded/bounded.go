// Package bounded checks, for tests and fuzz targets, that a parser's cost is in proportion to its
// input: memory of 64 MiB and 16 times the input, processor time of 2 s and 1 s for each MiB.
package bounded

import (
	"runtime"
	"testing"
	"time"
)

// Run runs f, which parses an input of size bytes, and fails t if it allocates or computes too
// much.
func Run(t testing.TB, size int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := processorTime()
	f()
	took := processorTime() - begin
	runtime.ReadMemStats(&after)
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(64<<20+16*size); got > most {
		t.Errorf("an input of %d bytes takes %d bytes of memory, want at most %d", size, got, most)
	}
	if most := 2*time.Second + time.Duration(size)*time.Second>>20; took > most {
		t.Errorf("an input of %d bytes takes %v of processor time, want at most %v", size, took, most)
	}
}
