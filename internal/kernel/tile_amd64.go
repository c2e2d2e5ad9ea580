//go:build !purego

package kernel

var productAVX2 = productOps{lanes: 8, vectors: 2, rows: 6, transpose: transposeAVX2, peak: peakAVX2}

var productAVX512 = productOps{lanes: 16, vectors: 3, rows: 8, transpose: transposeAVX2, peak: peakAVX512}

// run computes the tile. The calls are direct so that tiles need not be allocated.
func (t *tile) run(level Level) {
	switch level {
	case AVX512:
		tileAVX512(t)
	case AVX2:
		tileAVX2(t)
	default:
		t.runGeneric()
	}
}

// Pause tells the processor that the caller is waiting in a loop for another goroutine.
func Pause() { pause() }
