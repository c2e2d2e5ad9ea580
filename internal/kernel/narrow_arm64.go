//go:build !purego

package kernel

var narrowNEON = narrowOps{
	bf16:     neonLayout(7, layout{group: 2, words: 2, column: 4, run: tileBF16WideNEON}),
	int8:     neonLayout(7, layout{group: 2, words: 1, column: 2, run: tileINT8WideNEON}),
	bf16Peak: peakNEON,
	int8Peak: peakINT8NEON,
	convert:  convertOps{lanes: neonLanes, extremes: extremesNEON, round: roundBF16NEON, quantise: quantiseWordsNEON},
}

var narrowDotProd = func() narrowOps {
	n := narrowNEON
	n.int8 = neonLayout(7, layout{group: 4, words: 1, column: 4, signed: true, run: tileINT8DotOfNEON})
	n.int8Peak = peakINT8DotNEON
	n.convert.quantise = quantiseBytesNEON
	return n
}()

var narrowNEONBF16 = func() narrowOps {
	n := narrowDotProd
	n.bf16 = neonLayout(8, layout{group: 4, words: 2, column: 8, run: tileBF16MatrixOfNEON})
	n.bf16Peak = peakBF16MatrixNEON
	n.convert.round = packBF16NEON
	return n
}()

var narrowI8MM = func() narrowOps {
	n := narrowNEONBF16
	n.int8 = neonLayout(8, layout{group: 8, words: 2, column: 8, signed: true, run: tileINT8MatrixOfNEON})
	n.int8Peak = peakINT8MatrixNEON
	return n
}()

func neonLayout(rows int, l layout) layout {
	l.lanes, l.vectors, l.rows = neonLanes, neonVectors, rows
	return l
}
