//go:build !purego

package kernel

var narrowAVX2 = narrowOps{
	bf16:     layout{lanes: 8, vectors: 2, rows: 6, group: 2, words: 2, column: 4, run: tileBF16WideAVX2},
	int8:     layout{lanes: 8, vectors: 2, rows: 6, group: 2, words: 1, column: 2, run: tileINT8WideAVX2},
	bf16Peak: peakAVX2,
	int8Peak: peakINT8AVX2,
	convert: convertOps{
		lanes:    8,
		extremes: extremesAVX2,
		round:    roundBF16AVX2,
		pair:     pairBF16AVX2,
		quantise: quantiseWordsAVX2,
	},
}

var narrowAVX512 = narrowOps{
	bf16:     layout{lanes: 16, vectors: 3, rows: 8, group: 2, words: 2, column: 4, run: tileBF16WideAVX512},
	int8:     layout{lanes: 16, vectors: 3, rows: 8, group: 2, words: 1, column: 2, run: tileINT8WideAVX512},
	bf16Peak: peakAVX512,
	int8Peak: peakINT8AVX512,
	convert: convertOps{
		lanes:    16,
		extremes: extremesAVX512,
		round:    roundBF16AVX512,
		pack:     packBF16AVX512,
		pair:     pairBF16AVX512,
		quantise: quantiseWordsAVX512,
	},
}

var narrowVNNI = func() narrowOps {
	n := narrowAVX512
	n.int8 = layout{lanes: 16, vectors: 3, rows: 8, group: 4, words: 1, column: 4, run: tileINT8DotOfAVX512}
	n.int8Peak = peakINT8DotAVX512
	n.convert.quantise = quantiseBytesAVX512
	return n
}()

var narrowBF16 = func() narrowOps {
	n := narrowVNNI
	n.bf16 = layout{lanes: 16, vectors: 3, rows: 8, group: 2, words: 1, column: 4, run: tileBF16DotOfAVX512}
	n.bf16Peak = peakBF16DotAVX512
	n.convert.round = packBF16AVX512
	return n
}()
