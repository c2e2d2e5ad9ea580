//go:build !purego

package kernel

var productAVX2 = productOps{
	layout:    layout{lanes: 8, vectors: 2, rows: 6, group: 1, words: 1, column: 4, run: tileF32AVX2},
	transpose: transposeAVX2,
	square:    8,
	peak:      peakAVX2,
}

var productAVX512 = productOps{
	layout:    layout{lanes: 16, vectors: 3, rows: 8, group: 1, words: 1, column: 4, run: tileF32AVX512},
	transpose: transposeAVX2,
	square:    8,
	peak:      peakAVX512,
}

// run computes the tile. The calls are direct so that tiles need not be allocated.
func (t *tile) run(kind tileKind) {
	switch kind {
	case tileF32AVX512:
		tileAVX512(t)
	case tileF32AVX2:
		tileAVX2(t)
	case tileBF16DotOfAVX512:
		tileBF16DotAVX512(t)
	case tileBF16WideAVX512:
		tileBF16AVX512(t)
	case tileBF16WideAVX2:
		tileBF16AVX2(t)
	case tileINT8DotOfAVX512:
		tileINT8DotAVX512(t)
	case tileINT8WideAVX512:
		tileINT8AVX512(t)
	case tileINT8WideAVX2:
		tileINT8AVX2(t)
	default:
		t.runPortable(kind)
	}
}

// Pause tells the processor that the caller is waiting in a loop for another goroutine.
func Pause() { pause() }
